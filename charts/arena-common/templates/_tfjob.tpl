{{/* Of the charts tfjob and cron-tfjob. */}}
{{- define "arena.tfjob.spec" -}}
{{- include "arena.runPolicy" . }}
{{- with .Values.successPolicy }}
successPolicy: {{ . }}
{{- end }}
tfReplicaSpecs: {{- include "arena.replicas" (dict "root" . "kind" "TFJob" "container" "tensorflow" "portName" "tfjob-port") | nindent 2 }}
{{- end }}
