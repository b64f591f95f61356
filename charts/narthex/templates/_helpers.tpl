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

{{/* The service account that the pods run as. */}}
{{- define "narthex.account" -}}
{{- .Values.serviceAccount.name | default (include "narthex.name" .) -}}
{{- end -}}

{{/* "true" if the pods are on the network of their node, and otherwise nothing: then they have one of their own, and a Service. */}}
{{- define "narthex.onNode" -}}
{{- if and (eq .Values.kind "DaemonSet") .Values.daemonset.hostNetwork -}}true{{- end -}}
{{- end -}}

{{/* "true" if the container runtime binds ports of the nodes for the pods. */}}
{{- define "narthex.hostPorts" -}}
{{- if and (eq .Values.kind "DaemonSet") .Values.daemonset.hostPorts -}}true{{- end -}}
{{- end -}}

{{/* The labels that select a release's pods, as narthex finds its peers by them. */}}
{{- define "narthex.selector" -}}
app.kubernetes.io/name: {{ include "narthex.name" . }}
{{- end -}}

{{/* Labels that all objects have. */}}
{{- define "narthex.labels" -}}
{{ include "narthex.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* Metadata of an object. Takes "root" and "name", and may take "namespace", "labels" and "annotations". The labels that the chart needs
win over those of the values, and the labels of one object over those of all objects. */}}
{{- define "narthex.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- merge (dict) (include "narthex.labels" .root | fromYaml) (.labels | default dict) .root.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "narthex.image" -}}
{{- with .Values.image -}}
{{- $name := ternary (printf "%s/%s" .registry .repository) .repository (not (empty .registry)) -}}
{{- if .digest -}}{{ $name }}@{{ .digest }}{{- else -}}{{ $name }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "narthex.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* What only the kind of workload needs: its group of values. */}}
{{- define "narthex.own" -}}
{{- if eq .Values.kind "Deployment" -}}{{ toYaml .Values.deployment }}{{- else -}}{{ toYaml .Values.daemonset }}{{- end -}}
{{- end -}}

{{/* The names of the ports that narthex listens on for clients, as a list. */}}
{{- define "narthex.open" -}}
{{- $open := list -}}
{{- range $name := list "http" "https" -}}
{{- if index $.Values.ports $name }}{{ $open = append $open $name }}{{ end -}}
{{- end -}}
{{- toJson $open -}}
{{- end -}}

{{/* Binds a role to an account of the release's namespace. Takes "root", "kind" and "name" of the role, "account", and "namespace" for
what is in one. A hook gives its "annotations". */}}
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

{{/* A role. Takes what "narthex.binding" takes, and its "rules" as text. */}}
{{- define "narthex.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  {{- include "narthex.metadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
{{- end -}}
