{{- define "prometheus.config" -}}
global:
  scrape_interval: {{ .Values.interval }}s
  scrape_timeout: {{ min 10 .Values.interval }}s
  evaluation_interval: {{ .Values.interval }}s
  {{- with .Values.externalLabels }}
  external_labels: {{- toYaml . | nindent 4 }}
  {{- end }}
rule_files: [/etc/prometheus/rules/*.yaml]
{{- with .Values.alertmanagers }}
alerting:
  alertmanagers:
    - static_configs:
        - targets: {{ toJson . }}
{{- end }}
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: [localhost:{{ .Values.port }}]
  {{- range $name, $namespace := .Values.exporters }}
  - job_name: {{ $name }}
    # The pod that a figure is about, not the exporter's own.
    honor_labels: true
    kubernetes_sd_configs:
      - role: pod
        namespaces: {names: [{{ $namespace }}]}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_container_port_name]
        regex: {{ $name }};metrics
        action: keep
      - source_labels: [__meta_kubernetes_pod_phase]
        regex: Succeeded|Failed
        action: drop
      {{- if ne $name "kube-state-metrics" }}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: instance}
      {{- end }}
  {{- end }}
  {{- if .Values.platform }}
  - job_name: kubelet
    scheme: https
    authorization: &account {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
    # A kubelet's serving certificate is its own, unless the cluster's authority signs it; the token is what counts.
    tls_config: {insecure_skip_verify: true}
    kubernetes_sd_configs:
      - role: node
    relabel_configs:
      - {source_labels: [__meta_kubernetes_node_name], target_label: node}
      - {source_labels: [__meta_kubernetes_node_name], target_label: instance}
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: up|kubelet_(volume_stats_.*|certificate_manager_.*|running_(pods|containers)|node_name|pleg_relist_duration_seconds_(sum|count)|server_expiration_renew_errors)
        action: keep
  - job_name: kube-apiserver
    scheme: https
    authorization: *account
    tls_config:
      ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
      server_name: kubernetes.default.svc
    kubernetes_sd_configs:
      - role: endpointslice
        namespaces: {names: [default]}
    relabel_configs:
      - source_labels: [__meta_kubernetes_endpointslice_name, __meta_kubernetes_endpointslice_port_name]
        regex: kubernetes;https
        action: keep
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: up|apiserver_(client_certificate_expiration_seconds_(bucket|count)|request_total|storage_objects|current_inflight_requests)
        action: keep
  {{- end }}
  {{- with .Values.extraScrapes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{/* Bytes that blocks may take: 80 % of the disk, so that what is not yet a block has room too. */}}
{{- define "prometheus.retentionSize" -}}
{{- if .Values.retention.size -}}
{{ .Values.retention.size }}
{{- else if hasSuffix "Gi" .Values.storage.size -}}
{{ .Values.storage.size | trimSuffix "Gi" | int | mul 819 }}MB
{{- else -}}
{{ div (.Values.storage.size | trimSuffix "Mi" | int | mul 8) 10 }}MB
{{- end -}}
{{- end }}
