{{/* TensorBoard: a Deployment and a NodePort. Its logs lie on a --data volume, or on a volume of the job's own. In the
     latter case it runs where the writer runs: such a volume is often bound to one node, and the GPU decides which. */}}
{{- define "arena.tensorboard" -}}
{{- $job := .Values.job -}}
{{- with $job.tensorboard }}
{{- $name := printf "%s-tensorboard" $.Release.Name }}
{{- if .ownVolume }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{- include "arena.beside" (dict "root" $ "name" (printf "%s-logs" $.Release.Name)) | nindent 2 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with $job.logVolume.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ $job.logVolume.size }}
{{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "arena.beside" (dict "root" $ "name" $name) | nindent 2 }}
    role: tensorboard
spec:
  replicas: 1
  selector:
    matchLabels: {release: {{ $.Release.Name }}, app: {{ $.Chart.Name }}, role: tensorboard}
  template:
    metadata:
      labels: {release: {{ $.Release.Name }}, app: {{ $.Chart.Name }}, role: tensorboard}
    spec:
      {{- if .ownVolume }}
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - labelSelector:
                matchLabels: {release: {{ $.Release.Name }}, arena.kubeflow.org/role: {{ lower .writer }}}
              topologyKey: kubernetes.io/hostname
      {{- end }}
      {{- with $job.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $job.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      containers:
        - name: tensorboard
          image: {{ .image | default $job.tensorboardImage | quote }}
          imagePullPolicy: IfNotPresent
          command: [tensorboard, --logdir, {{ .logdir | toJson }}, --host, 0.0.0.0, --port, "6006"]
          env:
            - name: NVIDIA_VISIBLE_DEVICES
              value: void
          ports:
            - name: http
              containerPort: 6006
          volumeMounts:
            {{- range $n, $row := $job.claims }}
            - name: data-{{ $n }}
              mountPath: {{ $row.path | quote }}
              readOnly: true
            {{- end }}
            {{- if .ownVolume }}
            - name: training-logs
              mountPath: {{ .logdir | quote }}
              readOnly: true
            {{- end }}
      volumes:
        {{- range $n, $row := $job.claims }}
        - name: data-{{ $n }}
          persistentVolumeClaim: {claimName: {{ $row.claim }}}
        {{- end }}
        {{- if .ownVolume }}
        - name: training-logs
          persistentVolumeClaim: {claimName: {{ $.Release.Name }}-logs}
        {{- end }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "arena.beside" (dict "root" $ "name" $name) | nindent 2 }}
    role: tensorboard
spec:
  type: NodePort
  selector: {release: {{ $.Release.Name }}, app: {{ $.Chart.Name }}, role: tensorboard}
  ports:
    - name: tensorboard
      port: 6006
      targetPort: http
{{- end }}
{{- end }}
