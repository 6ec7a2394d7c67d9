"""Runs in an image of its own, with TensorFlow (CPU): a server that speaks TensorFlow Serving's REST and gRPC, for
clusters that upstream's image does not reach.

Its modules lie side by side in that image, as the payloads of checks do. `rest`, `versions` and `web` need nothing but
the standard library; `saved` and `rpc` need TensorFlow and the packages grpcio and tensorflow-serving-api.
"""
