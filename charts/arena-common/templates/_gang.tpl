{{/* --gang: a PodGroup of Volcano that the pods name, or the labels of the coscheduling plugin where the job has another
     scheduler. Neither needs the operator to know of it. */}}
{{- define "arena.gang.labels" -}}
{{- with .Values.job.gang }}
{{- if ne .scheduler "volcano" }}
pod-group.scheduling.sigs.k8s.io/name: {{ printf "%s-%s" $.Chart.Name $.Release.Name | quote }}
pod-group.scheduling.sigs.k8s.io/min-available: {{ .minMember | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "arena.gang.annotations" -}}
{{- with .Values.job.gang }}
{{- if eq .scheduler "volcano" }}
scheduling.k8s.io/group-name: {{ $.Release.Name }}
{{- end }}
{{- end }}
{{- end }}

{{- define "arena.podGroup" -}}
{{- with .Values.job.gang }}
{{- if eq .scheduler "volcano" }}
---
apiVersion: scheduling.volcano.sh/v1beta1
kind: PodGroup
metadata: {{- include "arena.beside" (dict "root" $ "name" $.Release.Name) | nindent 2 }}
spec:
  minMember: {{ .minMember }}
  {{- with $.Values.job.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Everything beside the job, for all kinds. Call with (dict "root" $). */}}
{{- define "arena.besides" -}}
{{- include "arena.configFiles" . }}
{{- include "arena.podGroup" . }}
{{- include "arena.tensorboard" . }}
{{- end }}
