"""The web pages of a cluster: what `arena list`, `get`, `logs` and `top` say, in a browser, behind a login.

Who logs in shows a Kubernetes token. Every question to the API about jobs, pods, logs, nodes and figures is asked with
that token, so that nobody sees more than the API server lets them. The server's own account reads one thing alone:
which components are installed, and whether they are ready. Nothing here writes, and no page has a script.

It runs in an image of its own, with aiohttp and Jinja, which the command `arena` does not need and never imports.
"""
