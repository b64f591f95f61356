{{/* A probe. Takes its "values" and its "command". */}}
{{- define "narthex.probe" -}}
{{- $probe := dict "exec" (dict "command" .command) -}}
{{- range $field, $value := .values -}}
{{- if and $value (or (ne $field "successThreshold") (ne (int $value) 1)) -}}
{{- $_ := set $probe $field $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* How pods are spread: the constraints of the values, and one for each label of `spreadOver` that they do not name. */}}
{{- define "narthex.spread" -}}
{{- $selector := dict "matchLabels" (include "narthex.selector" . | fromYaml) -}}
{{- $constraints := list -}}
{{- $named := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $named = append $named .topologyKey -}}
{{- $constraints = append $constraints (ternary . (merge (dict "labelSelector" $selector) .) (hasKey . "labelSelector")) -}}
{{- end -}}
{{- range (include "narthex.own" . | fromYaml).spreadOver -}}
{{- if not (has . $named) -}}
{{- $constraints = append $constraints (dict "topologyKey" . "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $selector) -}}
{{- end -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The pod, without what only one kind of workload has. */}}
{{- define "narthex.pod" -}}
{{- $node := include "narthex.onNode" . -}}
{{- $own := include "narthex.own" . | fromYaml -}}
{{- $probe := list "/narthex" "healthcheck" "--probe-socket=/run/narthex/probe.sock" -}}
metadata:
  labels:
    {{- merge (dict) (include "narthex.selector" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "narthex.account" . }}
  {{- if not .Values.serviceAccount.automount }}
  automountServiceAccountToken: false
  {{- end }}
  {{- if $node }}
  hostNetwork: true
  {{- end }}
  {{- with .Values.dnsPolicy | default (ternary "ClusterFirstWithHostNet" "" (not (empty $node))) }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with include "narthex.podSecurity" . }}
  securityContext:
    {{- . | nindent 4 }}
  {{- end }}
  {{- include "narthex.spread" . | nindent 2 }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- /* These fields of the pod are values of the same name. */}}
  {{- range $field := list "nodeSelector" "affinity" "dnsConfig" "hostAliases" "runtimeClassName" "schedulerName" "shareProcessNamespace" "initContainers" }}
  {{- with index $.Values $field }}
  {{- dict $field . | toYaml | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- include "narthex.pullSecrets" . | nindent 2 }}
  containers:
    - name: narthex
      image: {{ include "narthex.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "narthex.ownArgs" . | nindent 8 }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: NARTHEX_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        - name: NARTHEX_POD
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: NARTHEX_NODE
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        {{- with .Values.traces.endpointSecret }}
        {{- if .name }}
        - name: NARTHEX_OTLP_ENDPOINT
          valueFrom:
            secretKeyRef:
              name: {{ .name }}
              key: {{ .key }}
        {{- end }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- /* On the node's own network each declared port would be a hostPort: two pods at once, as in an update, could not be. */}}
      {{- if not $node }}
      ports:
        {{- range $port := append (include "narthex.open" . | fromJsonArray) "admin" }}
        - name: {{ $port }}
          containerPort: {{ index $.Values.ports $port }}
          {{- if and (ne $port "admin") (include "narthex.hostPorts" $) }}
          hostPort: {{ index $.Values.ports $port }}
          {{- end }}
          protocol: TCP
        {{- end }}
      {{- end }}
      startupProbe:
        {{- include "narthex.probe" (dict "values" .Values.startupProbe "command" $probe) | nindent 8 }}
      readinessProbe:
        {{- include "narthex.probe" (dict "values" .Values.readinessProbe "command" $probe) | nindent 8 }}
      livenessProbe:
        {{- include "narthex.probe" (dict "values" .Values.livenessProbe "command" (list "/narthex" "healthcheck" "--live" "--probe-socket=/run/narthex/probe.sock")) | nindent 8 }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: run
          mountPath: /run/narthex
        {{- if .Values.adminToken.secretName }}
        - name: admin-token
          mountPath: /etc/narthex/admin-token
          readOnly: true
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "narthex.containerSecurity" . | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: run
      emptyDir: {}
    {{- with .Values.adminToken.secretName }}
    - name: admin-token
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
