"""Why something does not work: links of a chain, walked to the first broken one. Pure judgement over facts.

`diagnose(cluster, facts, api, now)` judges a whole cluster, `first_broken(view)` the GPUs of one node, `diagnose_pod`
one pod. Who gathers what they read is elsewhere: pipeline.doctor by SSH and the API, verify by pods.
"""

from arena_install.diagnosis.diagnose import diagnose
from arena_install.diagnosis.gpu import GpuView, first_broken
from arena_install.diagnosis.model import Broken, Cause, Counts, Diagnosis, Fix, Note
from arena_install.diagnosis.view import ClusterView

__all__ = [
    "Broken", "Cause", "ClusterView", "Counts", "Diagnosis", "Fix", "GpuView", "Note", "diagnose", "first_broken",
]
