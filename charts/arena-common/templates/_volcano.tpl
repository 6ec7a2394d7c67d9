{{/* Tasks of a Volcano Job, from roles. Call with (dict "root" $ "kind" "VolcanoJob"); "task" goes into each task,
     "extraEnv" into each pod, "container" is the container's name (default: the task's), "more" are
     labels of the pods. */}}
{{- define "arena.volcano.tasks" -}}
{{- $top := . -}}
{{- range $name, $role := .root.Values.job.roles }}
- name: {{ $name }}
  replicas: {{ int $role.replicas }}
  {{- with $top.task }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- $pod := dict "role" $role "type" $name "restartPolicy" $role.restartPolicy "container" ($top.container | default $name) "portName" "task-port" "labels" (merge (dict "arena.kubeflow.org/role" (lower $name)) ($top.more | default dict)) }}
  template: {{- include "arena.podTemplate" (merge $pod $top) | nindent 4 }}
{{- end }}
{{- end }}
