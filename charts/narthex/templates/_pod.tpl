{{/* The flags of narthex, one a line. What is as by default is not said. */}}
{{- define "narthex.args" -}}
{{- $name := include "narthex.name" . -}}
{{- $node := eq .Values.kind "DaemonSet" -}}
- serve
{{- if $node }}
- --share-ports
- --hand-over={{ .Release.Namespace }}/{{ $name }}
{{- end }}
- --ingress-class={{ .Values.ingressClass.name }}
{{- if not .Values.ingressClass.classLess }}
- --class-less=false
{{- end }}
{{- range .Values.ignoreAnnotations }}
- {{ printf "--ignore-annotation=%s" . | quote }}
{{- end }}
- --probe-socket=/run/narthex/probe.sock
{{- /* In a namespace that is not watched, nothing is known of peers. */}}
{{- if and .Values.adminService.enabled (or (empty .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces)) }}
- --admin-service=$(NARTHEX_NAMESPACE)/{{ $name }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- if ne (int .Values.ports.http) 80 }}
- --listen-http={{ with int .Values.ports.http }}[::]:{{ . }}{{ else }}off{{ end }}
{{- end }}
{{- if or (ne (int .Values.ports.https) 443) (ne (int .Values.ports.http) 80) }}
- --listen-https={{ with int .Values.ports.https }}[::]:{{ . }}{{ else }}off{{ end }}
{{- end }}
{{- if ne (int .Values.ports.admin) 8080 }}
- --admin=:{{ .Values.ports.admin }}
{{- end }}
{{- if .Values.status.enabled }}
{{- if ne $name "narthex" }}
- --lease={{ $name }}
- --pod-selector=app.kubernetes.io/name={{ $name }}
{{- end }}
{{- if .Values.status.publishService }}
- --publish-service={{ .Values.status.publishService }}
{{- else if .Values.status.publishAddress }}
- --publish-address={{ join "," .Values.status.publishAddress }}
{{- else if not $node }}
- --publish-service={{ .Release.Namespace }}/{{ $name }}-public
{{- end }}
{{- else }}
- --update-status=false
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The pod, without what only one kind of workload has. */}}
{{- define "narthex.pod" -}}
{{- $node := eq .Values.kind "DaemonSet" -}}
{{- $own := include "narthex.own" . | fromYaml -}}
metadata:
  labels:
    {{- include "narthex.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "narthex.name" . }}
  {{- if $node }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- else }}
  securityContext:
    sysctls: # applies to the pod only: ports below 1024 without a capability
      - name: net.ipv4.ip_unprivileged_port_start
        value: "0"
  {{- with $own.spreadOver }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "narthex.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "narthex.pullSecrets" . | nindent 2 }}
  containers:
    - name: narthex
      image: {{ include "narthex.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "narthex.args" . | nindent 8 }}
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
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- /* On the node's own network each declared port would be a hostPort: two pods at once, as in an update, could not be. */}}
      {{- if not $node }}
      ports:
        {{- range $port := list "http" "https" "admin" }}
        {{- with index $.Values.ports $port }}
        - name: {{ $port }}
          containerPort: {{ . }}
          protocol: TCP
        {{- end }}
        {{- end }}
      {{- end }}
      startupProbe:
        exec:
          command: [/narthex, healthcheck, --probe-socket=/run/narthex/probe.sock]
        periodSeconds: 1
        timeoutSeconds: 5
        failureThreshold: 3600
      readinessProbe:
        exec:
          command: [/narthex, healthcheck, --probe-socket=/run/narthex/probe.sock]
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      livenessProbe:
        exec:
          command: [/narthex, healthcheck, --live, --probe-socket=/run/narthex/probe.sock]
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      volumeMounts:
        - name: run
          mountPath: /run/narthex
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- if and $node (not .Values.runAsNonRoot) }}
        runAsUser: 0
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
          add: [NET_BIND_SERVICE]
        seccompProfile:
          type: RuntimeDefault
        {{- else }}
        {{- include "narthex.restricted" . | nindent 8 }}
        {{- end }}
  volumes:
    - name: run
      emptyDir: {}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "narthex.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}
