{{/* Where what is mounted. The numbers in the names tie "arena.mounts" to "arena.volumes". */}}
{{- define "arena.mounts" -}}
{{- $job := .root.Values.job -}}
{{- $data := not .role.noData -}}
{{- if $data }}
{{- range $n, $row := $job.claims }}
- name: data-{{ $n }}
  mountPath: {{ $row.path | quote }}
  {{- if $row.readOnly }}
  readOnly: true
  {{- end }}
{{- end }}
{{- range $n, $row := $job.hostPaths }}
- name: training-data-{{ $n }}
  mountPath: {{ $row.path | quote }}
{{- end }}
{{- end }}
{{- range $job.configFiles }}
- name: config-files
  mountPath: {{ .path | quote }}
  subPath: {{ .key }}
{{- end }}
{{- if $job.sync }}
- name: code-sync
  mountPath: {{ printf "%s/code" $job.workingDir | quote }}
{{- end }}
{{- if $job.sharedMemory }}
- name: dshm
  mountPath: /dev/shm
{{- end }}
{{- if and $job.tensorboard.ownVolume (eq $job.tensorboard.writer (.type | default "")) }}
- name: training-logs
  mountPath: {{ $job.tensorboard.logdir | quote }}
{{- end }}
{{- range .extraMounts }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "arena.volumes" -}}
{{- $job := .root.Values.job -}}
{{- if not .role.noData }}
{{- range $n, $row := $job.claims }}
- name: data-{{ $n }}
  persistentVolumeClaim: {claimName: {{ $row.claim }}}
{{- end }}
{{- range $n, $row := $job.hostPaths }}
- name: training-data-{{ $n }}
  hostPath: {path: {{ $row.host | quote }}}
{{- end }}
{{- end }}
{{- if $job.configFiles }}
- name: config-files
  configMap: {name: {{ .root.filesOf | default .root.Release.Name }}-files}
{{- end }}
{{- if $job.sync }}
- name: code-sync
  emptyDir: {}
{{- with $job.sync.secret }}
- name: sync-secret
  secret: {secretName: {{ . }}, defaultMode: 0400}
{{- end }}
{{- end }}
{{- with $job.sharedMemory }}
- name: dshm
  emptyDir: {medium: Memory, sizeLimit: {{ . | quote }}}
{{- end }}
{{- if and $job.tensorboard.ownVolume (eq $job.tensorboard.writer (.type | default "")) }}
- name: training-logs
  persistentVolumeClaim: {claimName: {{ .root.Release.Name }}-logs}
{{- end }}
{{- range .extraVolumes }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "arena.configFiles" -}}
{{- if .Values.job.configFiles }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{- include "arena.beside" (dict "root" . "name" (printf "%s-files" .Release.Name)) | nindent 2 }}
data:
  {{- range .Values.job.configFiles }}
  {{ .key | quote }}: {{ .content | toJson }}
  {{- end }}
{{- end }}
{{- end }}
