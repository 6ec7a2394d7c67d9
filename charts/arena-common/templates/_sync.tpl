{{/* Code from git or rsync, fetched into an empty folder before the job starts. The image of ours reads the variables of
     git-sync (GIT_SYNC_BRANCH, GIT_SYNC_REV, GIT_SYNC_DEPTH ...), which --env sets. */}}
{{- define "arena.sync.container" -}}
{{- $job := .Values.job -}}
{{- with $job.sync }}
- name: init-code
  image: {{ .image | default $job.syncImage | quote }}
  imagePullPolicy: {{ $job.imagePullPolicy }}
  {{- if eq .mode "rsync" }}
  command: [rsync, -a, -v, -P, --, {{ .source | toJson }}, /code]
  {{- end }}
  env:
    {{- if eq .mode "git" }}
    {{- $env := mustMergeOverwrite (dict "GIT_SYNC_REPO" .source "GIT_SYNC_DEST" .project "GIT_SYNC_ROOT" "/code" "GIT_SYNC_ONE_TIME" "true") (.env | default dict) }}
    {{- range $name := keys $env | sortAlpha }}
    - name: {{ $name }}
      value: {{ get $env $name | quote }}
    {{- end }}
    {{- with .secret }}
    - name: GIT_SYNC_USERNAME
      valueFrom: {secretKeyRef: {name: {{ . }}, key: username, optional: true}}
    - name: GIT_SYNC_PASSWORD
      valueFrom: {secretKeyRef: {name: {{ . }}, key: password, optional: true}}
    - name: GIT_SSH_KEY_FILE
      value: /etc/git-secret/ssh-privatekey
    {{- end }}
    {{- else }}
    - name: RSYNC_SOURCE
      value: {{ .source | quote }}
    {{- end }}
  volumeMounts:
    - name: code-sync
      mountPath: /code
    {{- if .secret }}
    - name: sync-secret
      mountPath: /etc/git-secret
      readOnly: true
    {{- end }}
{{- end }}
{{- end }}
