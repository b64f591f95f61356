{{/* A value as the text of a flag. A number of a values file is a float, and would become 1e+06. */}}
{{- define "narthex.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The flags that values with `x-flag` set, one a line, except those that are as by default. */}}
{{- define "narthex.typed" -}}
{{- range (.Files.Get "files/flags.json" | fromJson).values -}}
{{- $default := .default -}}
{{- $value := $.Values -}}
{{- range .path -}}
{{- if and (kindIs "map" $value) (hasKey $value .) }}{{ $value = index $value . }}{{ else }}{{ $value = $default }}{{ end -}}
{{- end -}}
{{- $text := include "narthex.text" $value -}}
{{- /* `off` without quotes is false to YAML. */ -}}
{{- if and (kindIs "bool" $value) (kindIs "string" .default) -}}
{{- $text = "off" -}}
{{- end -}}
{{- if ne $text (include "narthex.text" .default) }}
- {{ printf "%s=%s" .flag $text | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The port in redirects to HTTPS, if it is not the one that narthex listens on. */}}
{{- define "narthex.redirectPort" -}}
{{- $port := int .Values.tls.redirectPort -}}
{{- if and (not $port) (not (include "narthex.onNode" .)) -}}
{{- $port = int .Values.service.ports.https -}}
{{- end -}}
{{- if and $port (ne $port (int .Values.ports.https)) -}}
{{- $port -}}
{{- end -}}
{{- end -}}

{{/* The flags that the chart itself sets, one a line. What is as by default is left out. */}}
{{- define "narthex.ownArgs" -}}
{{- $name := include "narthex.name" . -}}
{{- $node := include "narthex.onNode" . -}}
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
{{- with include "narthex.redirectPort" . }}
- --https-port={{ . }}
{{- end }}
{{- if ne (int .Values.ports.admin) 8080 }}
- --admin=:{{ .Values.ports.admin }}
{{- end }}
{{- if .Values.adminToken.secretName }}
- --admin-token-file=/etc/narthex/admin-token/{{ .Values.adminToken.key }}
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
{{- else if not (or $node (include "narthex.hostPorts" .)) }}
- --publish-service={{ .Release.Namespace }}/{{ $name }}-public
{{- end }}
{{- else }}
- --update-status=false
{{- end }}
{{- include "narthex.typed" . }}
{{- end -}}
