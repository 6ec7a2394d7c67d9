"""JupyterHub's settings: lie side by side in its image as /opt/jupyterhub, where JupyterHub reads config.py."""
