{{- define "appwrapperjob.pytorch" -}}
podSets:
  {{- range $type, $role := .Values.job.roles }}
  - replicas: {{ int $role.replicas }}
    path: template.spec.pytorchReplicaSpecs.{{ $type }}.template
  {{- end }}
template:
  apiVersion: kubeflow.org/v1
  kind: PyTorchJob
  metadata: {{- include "arena.beside" (dict "root" . "name" .Release.Name) | nindent 4 }}
  spec: {{- include "arena.pytorchjob.spec" . | nindent 4 }}
{{- end }}
