{{/* What objects are called. */}}
{{- define "narthex.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "narthex" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-narthex" (.Release.Name | trunc 45 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Labels of all objects. The first one selects: a release's own, as narthex finds its peers by it. */}}
{{- define "narthex.labels" -}}
{{ include "narthex.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{- define "narthex.selector" -}}
app.kubernetes.io/name: {{ include "narthex.name" . }}
{{- end -}}

{{- define "narthex.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* What only the kind of workload needs: its group of values. */}}
{{- define "narthex.own" -}}
{{- if eq .Values.kind "Deployment" -}}{{ toYaml .Values.deployment }}{{- else -}}{{ toYaml .Values.daemonset }}{{- end -}}
{{- end -}}

{{/* Nobody and nothing: what the pod security level `restricted` asks of a container. */}}
{{- define "narthex.restricted" -}}
runAsUser: 65532
runAsGroup: 65532
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Binds a role to an account of the release's namespace. Takes "root", "kind" and "name" of the role, "account", and "namespace" for
what lies in one. A hook gives its "annotations" as text. */}}
{{- define "narthex.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (not (empty .namespace)) }}
metadata:
  {{- include "narthex.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* Metadata of an object that may lie in a namespace, and may be a hook. */}}
{{- define "narthex.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "narthex.labels" .root | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A role. Takes what "narthex.binding" takes, and its "rules" as text. */}}
{{- define "narthex.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "narthex.metadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
{{- end -}}
