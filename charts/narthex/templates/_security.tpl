{{/* What the pod security level `restricted` asks of a container. */}}
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

{{/* The security context of the container. Not `merge`: it takes false and 0 for values that are missing. */}}
{{- define "narthex.containerSecurity" -}}
{{- $context := include "narthex.restricted" . | fromYaml -}}
{{- if and (include "narthex.onNode" .) (not .Values.runAsNonRoot) -}}
{{- $context = omit $context "runAsGroup" "runAsNonRoot" -}}
{{- $_ := set $context "runAsUser" 0 -}}
{{- $_ := set $context "capabilities" (dict "drop" (list "ALL") "add" (list "NET_BIND_SERVICE")) -}}
{{- end -}}
{{- range $key, $value := .Values.securityContext -}}
{{- $_ := set $context $key $value -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* The security context of the pod. In a network of its own, a sysctl lets narthex listen on ports below 1024 without a capability. */}}
{{- define "narthex.podSecurity" -}}
{{- $sysctls := .Values.podSecurityContext.sysctls | default list -}}
{{- $low := false -}}
{{- range (include "narthex.open" . | fromJsonArray) -}}
{{- if lt (int (index $.Values.ports .)) 1024 }}{{ $low = true }}{{ end -}}
{{- end -}}
{{- $start := "net.ipv4.ip_unprivileged_port_start" -}}
{{- range $sysctls -}}
{{- if eq .name $start }}{{ $low = false }}{{ end -}}
{{- end -}}
{{- if and $low (not (include "narthex.onNode" .)) -}}
{{- $sysctls = prepend $sysctls (dict "name" $start "value" "0") -}}
{{- end -}}
{{- $context := omit .Values.podSecurityContext "sysctls" -}}
{{- if $sysctls -}}
{{- $_ := set $context "sysctls" $sysctls -}}
{{- end -}}
{{- with $context -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
