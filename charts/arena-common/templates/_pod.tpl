{{/* The pod template of one role. Call with (dict "root" $ "role" $role "container" "pytorch") and, where it matters,
     "type" (the replica type) and "portName". */}}
{{- define "arena.podTemplate" -}}
{{- $job := .root.Values.job -}}
metadata:
  labels:
    createdBy: {{ .kind }}
    {{- include "arena.labels" .root | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "arena.gang.labels" .root | nindent 4 }}
  {{- $annotations := mustMergeOverwrite (dict "requestGPUsOfJobOwner" (toString $job.requestGPUs)) $job.annotations (.role.annotations | default dict) (include "arena.gang.annotations" .root | fromYaml) (.annotations | default dict) }}
  {{- with $annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec: {{- include "arena.podSpec" . | nindent 2 }}
{{- end }}

{{- define "arena.podSpec" -}}
{{- $job := .root.Values.job -}}
{{- $role := .role -}}
{{- with .restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
{{- with .activeDeadlineSeconds }}
activeDeadlineSeconds: {{ int . }}
{{- end }}
{{- with include "arena.scheduler" .root }}
schedulerName: {{ . }}
{{- end }}
{{- with $job.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if $job.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
{{- if $job.hostIPC }}
hostIPC: true
{{- end }}
{{- if $job.hostPID }}
hostPID: true
{{- end }}
{{- with $role.nodeSelector | default $job.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $job.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "arena.affinity" . }}
affinity: {{- . | nindent 2 }}
{{- end }}
{{- with $job.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with include "arena.sync.container" .root }}
initContainers: {{- . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .container }}
    image: {{ $role.image | quote }}
    imagePullPolicy: {{ $job.imagePullPolicy }}
    {{- with $role.command }}
    command: [{{ $job.shell }}, -c, {{ . | toJson }}]
    workingDir: {{ $job.workingDir | quote }}
    {{- end }}
    env: {{- include "arena.env" . | nindent 6 }}
    {{- with $role.resources }}
    resources: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if and $role.port .portName }}
    ports:
      - name: {{ .portName }}
        containerPort: {{ $role.port }}
    {{- end }}
    {{- if and $job.rdma (not $role.noGpu) }}
    securityContext:
      capabilities:
        add: [IPC_LOCK]
    {{- end }}
    {{- with .preStop }}
    lifecycle:
      preStop:
        exec:
          command: [sh, -c, {{ . | toJson }}]
    {{- end }}
    {{- with include "arena.mounts" . | fromYamlArray }}
    volumeMounts: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- with include "arena.volumes" . | fromYamlArray }}
volumes: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A list, in the order of names, so that the same job always looks the same. "extraEnv" are rows of their own, "env" of
     the role goes before the job's. */}}
{{- define "arena.env" -}}
{{- $env := mustMergeOverwrite (dict) .root.Values.job.env (.role.env | default dict) -}}
{{- if .role.noGpu }}{{- $_ := set $env "NVIDIA_VISIBLE_DEVICES" "void" }}{{- end -}}
{{- range $name := keys $env | sortAlpha }}
- name: {{ $name }}
  value: {{ get $env $name | quote }}
{{- end }}
{{- range .extraEnv }}
{{- if not (hasKey $env .name) }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end }}

{{- define "arena.scheduler" -}}
{{- .Values.job.schedulerName | default (get .Values.job.gang "scheduler") -}}
{{- end }}

{{/* --worker-affinity-policy and TensorBoard's wish are by labels of our own: operators change theirs. */}}
{{- define "arena.affinity" -}}
{{- with .role.affinity }}
{{- $kind := ternary "podAntiAffinity" "podAffinity" (eq .policy "spread") }}
{{- $term := dict "labelSelector" (dict "matchLabels" (dict "release" $.root.Release.Name "arena.kubeflow.org/role" (lower $.type))) "topologyKey" "kubernetes.io/hostname" }}
{{ $kind }}:
  {{- if .required }}
  requiredDuringSchedulingIgnoredDuringExecution:
    - {{- toYaml $term | nindent 6 }}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm: {{- toYaml $term | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
