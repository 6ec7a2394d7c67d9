{{- define "gpu-exporter.selector" -}}
app.kubernetes.io/name: gpu-exporter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "gpu-exporter.labels" -}}
{{ include "gpu-exporter.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
