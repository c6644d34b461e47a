{{- define "pointsman.labels" -}}
app.kubernetes.io/name: pointsman
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pointsman.selector" -}}
app.kubernetes.io/name: pointsman
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "pointsman.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* Managed clusters append to the version what no image is tagged with. */ -}}
{{- define "pointsman.schedulerImage" -}}
{{- $version := regexFind "^v[0-9]+\\.[0-9]+\\.[0-9]+" .Capabilities.KubeVersion.Version -}}
{{ .Values.scheduler.image.repository }}:{{ .Values.scheduler.image.tag | default $version }}
{{- end }}

{{- define "pointsman.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "pointsman.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "pointsman.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "pointsman.selector" . | nindent 8 }}
{{- end }}

{{- define "pointsman.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pointsman.where" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "pointsman.probes" -}}
livenessProbe:
  httpGet:
    {{- with .host }}
    host: {{ . }}
    {{- end }}
    path: /livez
    port: admin
    {{- with .root.Values.admin.certificateSecret }}
    scheme: HTTPS
    {{- end }}
  periodSeconds: 10
readinessProbe:
  httpGet:
    {{- with .host }}
    host: {{ . }}
    {{- end }}
    path: /readyz
    port: admin
    {{- with .root.Values.admin.certificateSecret }}
    scheme: HTTPS
    {{- end }}
  periodSeconds: 2
{{- end }}

{{- define "pointsman.adminArgs" -}}
{{- if .Values.admin.certificateSecret }}
- --admin-tls-dir=/etc/pointsman-admin-tls
{{- end }}
{{- if ne .Values.admin.auth "none" }}
- --admin-auth={{ .Values.admin.auth }}
{{- end }}
{{- end }}

{{- define "pointsman.adminMount" -}}
{{- if .Values.admin.certificateSecret }}
- name: admin-tls
  mountPath: /etc/pointsman-admin-tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "pointsman.adminVolume" -}}
{{- with .Values.admin.certificateSecret }}
- name: admin-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- end }}

{{- define "pointsman.extenderStanza" -}}
- urlPrefix: http://127.0.0.1:{{ .Values.extender.port }}
  filterVerb: filter
  prioritizeVerb: prioritize
  # A veto: nobody is evicted on a node that the pod could not have all the same.
  preemptVerb: preempt
  {{- if .Values.scheduler.bind }}
  bindVerb: bind
  {{- end }}
  # In-tree scores add up to 1400 at most, ours to 10 x weight x 10.
  weight: 10
  # Names instead of whole Node objects; the other form breaks the scheduler's own scoring.
  nodeCacheCapable: true
  enableHTTPS: false
  httpTimeout: 5s
  # A pod that cannot be checked waits. Without managedResources every pod of this scheduler is checked;
  # `pointsman scheduler-config` prints this with those of your cluster.
  ignorable: false
  {{- with .Values.scheduler.managedResources }}
  managedResources:
    {{- range . }}
    - name: {{ . }}
      ignoredByScheduler: false
    {{- end }}
  {{- end }}
{{- end }}

{{- /* The identity that places: the dedicated scheduler and the extender beside it share one. */ -}}
{{- define "pointsman.placer" -}}
{{ eq .Values.scheduler.mode "dedicated" | ternary "pointsman-scheduler" "pointsman-extender" }}
{{- end }}

{{- define "pointsman.excludedNamespaces" -}}
[{{ concat (list "kube-system" .Release.Namespace) .Values.webhook.excludedNamespaces | join ", " }}]
{{- end }}
