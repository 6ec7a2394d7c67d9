{{/* Code from git or rsync, fetched into an empty folder before the job starts. The variables are those of git-sync
     (GIT_SYNC_BRANCH, GIT_SYNC_REV, GIT_SYNC_DEPTH ...), which --env sets; an image of --sync-image reads them by itself. */}}
{{- define "arena.sync.container" -}}
{{- $job := .Values.job -}}
{{- with $job.sync }}
- name: init-code
  image: {{ .image | default $job.syncImage | quote }}
  imagePullPolicy: {{ $job.imagePullPolicy }}
  {{- if and (eq .mode "git") (not .image) }}
  command: [sh, -c, {{ include "arena.sync.git" $ | toJson }}]
  {{- end }}
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

{{/* A login reaches git by its credential helper or by ssh, and never stands in a command line. */}}
{{- define "arena.sync.git" -}}
set -eu
export HOME=/tmp
secret=${GIT_SYNC_SECRET_DIR:-/etc/git-secret}
if [ -r "$secret/ssh-privatekey" ]; then
  install -m 0600 "$secret/ssh-privatekey" /tmp/key
  hosts="-o StrictHostKeyChecking=accept-new"
  [ ! -r "$secret/known_hosts" ] || hosts="-o UserKnownHostsFile=$secret/known_hosts"
  export GIT_SSH_COMMAND="ssh -i /tmp/key $hosts"
fi
if [ -n "${GIT_SYNC_USERNAME:-}" ]; then
  git config --global credential.helper '!f() { echo "username=$GIT_SYNC_USERNAME"; echo "password=$GIT_SYNC_PASSWORD"; }; f'
fi
dest=$GIT_SYNC_ROOT/$GIT_SYNC_DEST
set -- --recurse-submodules
[ -z "${GIT_SYNC_BRANCH:-}" ] || set -- "$@" --branch "$GIT_SYNC_BRANCH"
[ "${GIT_SYNC_DEPTH:-0}" = 0 ] || set -- "$@" --depth "$GIT_SYNC_DEPTH"
git clone "$@" -- "$GIT_SYNC_REPO" "$dest"
[ -z "${GIT_SYNC_REV:-}" ] || git -C "$dest" checkout --quiet --detach "$GIT_SYNC_REV" --
git -C "$dest" log --oneline -1
{{- end }}
