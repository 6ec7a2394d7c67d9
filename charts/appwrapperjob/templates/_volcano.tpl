{{- define "appwrapperjob.volcano" -}}
{{- $volcano := .Values.volcano -}}
{{- $task := dict }}
{{- with $volcano.partitionPolicy }}{{ $_ := set $task "partitionPolicy" . }}{{ end -}}
podSets:
  {{- range $name, $role := .Values.job.roles }}
  - replicas: {{ int $role.replicas }}
    path: template.spec.tasks[0].template
  {{- end }}
template:
  apiVersion: batch.volcano.sh/v1alpha1
  kind: Job
  metadata: {{- include "arena.beside" (dict "root" . "name" .Release.Name) | nindent 4 }}
  spec:
    minAvailable: {{ int $volcano.minAvailable }}
    maxRetry: {{ int $volcano.maxRetry }}
    schedulerName: {{ .Values.job.schedulerName }}
    queue: {{ $volcano.queue }}
    {{- with .Values.job.priorityClassName }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with .Values.job.runPolicy.ttlSecondsAfterFinished }}
    ttlSecondsAfterFinished: {{ int . }}
    {{- end }}
    {{- with $volcano.networkTopology }}
    networkTopology: {{- toYaml . | nindent 6 }}
    {{- end }}
    plugins:
      env: []
      {{- if $volcano.svcPlugin }}
      svc: [--publish-not-ready-addresses=true]
      {{- end }}
    policies:
      - event: PodEvicted
        action: RestartJob
    tasks: {{- include "arena.volcano.tasks" (dict "root" . "kind" "AppWrapper" "container" "main-con" "task" $task "activeDeadlineSeconds" .Values.job.runPolicy.activeDeadlineSeconds "extraEnv" (include "appwrapperjob.rank" . | fromYamlArray)) | nindent 6 }}
{{- end }}

{{/* A pod's rank is its place in the task; what it means for torch.distributed depends on processes per node. */}}
{{- define "appwrapperjob.rank" -}}
{{- range $name := list "RANK" "NODE_RANK" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.annotations['volcano.sh/task-index']
{{- end }}
{{- end }}
