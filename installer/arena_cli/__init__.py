"""arena: the data scientist's command. It submits training and serving jobs and looks at them.

Its flags, labels, ConfigMaps and tables are those of Kubeflow's arena v0.15, so each sees the other's jobs. Nothing of
arena_install's machinery is imported here: the command must start in an instant, and work where only Kubernetes is.
"""
