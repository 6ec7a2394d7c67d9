{{- define "arena.runPolicy" -}}
{{- with .Values.job.runPolicy }}
runPolicy: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replica types of the training operator's and the MPI operator's jobs. Call with (dict "root" $ "kind" "PyTorchJob"
     "container" "pytorch" "portName" "pytorchjob-port"); "extras" is replica type -> {mounts, volumes}. */}}
{{- define "arena.replicas" -}}
{{- $top := . -}}
{{- range $type, $role := .root.Values.job.roles }}
{{- $extra := get ($top.extras | default dict) $type | default dict }}
{{ $type }}:
  replicas: {{ int $role.replicas }}
  {{- with $role.restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- $pod := dict "role" $role "type" $type "labels" (dict "arena.kubeflow.org/role" (lower $type)) "extraMounts" $extra.mounts "extraVolumes" $extra.volumes }}
  template: {{- include "arena.podTemplate" (merge $pod $top) | nindent 4 }}
{{- end }}
{{- end }}

{{- define "arena.pytorchjob.spec" -}}
{{- include "arena.runPolicy" . }}
{{- with .Values.nprocPerNode }}
nprocPerNode: {{ . | quote }}
{{- end }}
{{- with .Values.elastic }}
elasticPolicy:
  rdzvBackend: c10d
  minReplicas: {{ int .minReplicas }}
  maxReplicas: {{ int .maxReplicas }}
  maxRestarts: {{ int .maxRestarts }}
{{- end }}
pytorchReplicaSpecs: {{- include "arena.replicas" (dict "root" . "kind" "PyTorchJob" "container" "pytorch" "portName" "pytorchjob-port") | nindent 2 }}
{{- end }}

{{/* A whole MPIJob. Call with (dict "root" $), and "extras" as for "arena.replicas". */}}
{{- define "arena.mpijob" -}}
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata: {{- include "arena.metadata" (dict "root" .root "kind" "MPIJob") | nindent 2 }}
spec:
  slotsPerWorker: {{ int .root.Values.slotsPerWorker }}
  {{- with .root.Values.sshAuthMountPath }}
  sshAuthMountPath: {{ . | quote }}
  {{- end }}
  # The launcher comes when all workers can be reached, so that nobody sees it crash meanwhile.
  launcherCreationPolicy: WaitForWorkersReady
  {{- include "arena.runPolicy" .root | nindent 2 }}
  mpiReplicaSpecs: {{- include "arena.replicas" (dict "root" .root "kind" "MPIJob" "container" "mpi" "extras" .extras) | nindent 4 }}
{{- end }}
