{{/* Labels of everything that belongs to a job. `app`, `release` and `createdBy` are those by which the arena command,
     ours and upstream's, finds it. */}}
{{- define "arena.labels" -}}
{{- $own := dict "app" .Chart.Name "chart" (printf "%s-%s" .Chart.Name .Chart.Version) "release" .Release.Name "heritage" "Helm" -}}
{{- merge $own .Values.job.labels | toYaml }}
{{- end }}

{{/* metadata of the job itself. Call with (dict "root" $ "kind" "PyTorchJob"). */}}
{{- define "arena.metadata" -}}
{{- $job := .root.Values.job -}}
name: {{ .root.Release.Name }}
namespace: {{ .root.Release.Namespace }}
labels:
  createdBy: {{ .kind }}
  {{- include "arena.labels" .root | nindent 2 }}
  {{- with $job.jobLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  requestGPUsOfJobOwner: {{ $job.requestGPUs | quote }}
  {{- with $job.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* metadata of something beside the job. Call with (dict "root" $ "name" "x-tensorboard"). */}}
{{- define "arena.beside" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "arena.labels" .root | nindent 2 }}
{{- end }}
