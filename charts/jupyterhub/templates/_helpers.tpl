{{- define "jupyterhub.selector" -}}
app.kubernetes.io/name: jupyterhub
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "jupyterhub.labels" -}}
{{ include "jupyterhub.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}
{{/* What config.py reads. */}}
{{- define "jupyterhub.values" -}}
{{ pick .Values "idle" "notebook" "profiles" | toJson }}
{{- end }}
