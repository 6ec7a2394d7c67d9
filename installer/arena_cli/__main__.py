from arena_cli.main import run

run()
