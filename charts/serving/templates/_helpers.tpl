{{/* By servingName, servingType and servingVersion the arena command, ours and upstream's, finds a serving job. */}}
{{- define "serving.labels" -}}
app: {{ .Values.type }}
release: {{ .Release.Name }}
chart: {{ .Chart.Name }}-{{ .Chart.Version }}
heritage: Helm
servingName: {{ .Values.name }}
servingType: {{ .Values.type }}
servingVersion: {{ .Values.version | quote }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "serving.selector" -}}
servingName: {{ .Values.name }}
servingType: {{ .Values.type }}
servingVersion: {{ .Values.version | quote }}
{{- end }}

{{- define "serving.metadata" -}}
name: {{ .Release.Name }}
namespace: {{ .Release.Namespace }}
labels: {{- include "serving.labels" . | nindent 2 }}
{{- end }}

{{- define "serving.mounts" -}}
{{- range $n, $row := .Values.claims }}
- name: data-{{ $n }}
  mountPath: {{ $row.path | quote }}
  {{- with $row.subPathExpr }}
  subPathExpr: {{ . | quote }}
  {{- end }}
  {{- if $row.readOnly }}
  readOnly: true
  {{- end }}
{{- end }}
{{- range $n, $row := .Values.hostPaths }}
- name: host-{{ $n }}
  mountPath: {{ $row.path | quote }}
{{- end }}
{{- range .Values.tempDirs }}
- name: {{ .name }}
  mountPath: {{ .path | quote }}
  {{- with .subPathExpr }}
  subPathExpr: {{ . | quote }}
  {{- end }}
{{- end }}
{{- range .Values.configFiles }}
- name: config-files
  mountPath: {{ .path | quote }}
  subPath: {{ .key }}
{{- end }}
{{- if .Values.sharedMemory }}
- name: dshm
  mountPath: /dev/shm
{{- end }}
{{- end }}

{{- define "serving.volumes" -}}
{{- range $n, $row := .Values.claims }}
- name: data-{{ $n }}
  persistentVolumeClaim: {claimName: {{ $row.claim }}}
{{- end }}
{{- range $n, $row := .Values.hostPaths }}
- name: host-{{ $n }}
  hostPath: {path: {{ $row.host | quote }}}
{{- end }}
{{- range .Values.tempDirs }}
- name: {{ .name }}
  emptyDir: {}
{{- end }}
{{- if .Values.configFiles }}
- name: config-files
  configMap: {name: {{ .Release.Name }}-files}
{{- end }}
{{- with .Values.sharedMemory }}
- name: dshm
  emptyDir: {medium: Memory, sizeLimit: {{ . | quote }}}
{{- end }}
{{- end }}
