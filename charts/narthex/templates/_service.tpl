{{/* A Service for clients. Takes "root", "name" and the "values" of one. Fields that are empty are left out. */}}
{{- define "narthex.service" -}}
{{- $values := .values -}}
{{- $root := .root -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "narthex.metadata" (dict "root" .root "name" .name "namespace" .root.Release.Namespace "labels" $values.labels "annotations" $values.annotations) | nindent 2 }}
spec:
  type: {{ $values.type }}
  {{- if ne $values.type "ClusterIP" }}
  externalTrafficPolicy: {{ $values.externalTrafficPolicy }}
  {{- end }}
  {{- range $field := list "clusterIP" "externalIPs" "ipFamilyPolicy" "ipFamilies" "internalTrafficPolicy" "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" "healthCheckNodePort" }}
  {{- with get $values $field }}
  {{- dict $field . | toYaml | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- if and (eq $values.type "LoadBalancer") (hasKey $values "allocateLoadBalancerNodePorts") (not $values.allocateLoadBalancerNodePorts) }}
  allocateLoadBalancerNodePorts: false
  {{- end }}
  {{- if eq ($values.sessionAffinity | default "None") "ClientIP" }}
  sessionAffinity: ClientIP
  sessionAffinityConfig:
    clientIP:
      timeoutSeconds: {{ int $values.sessionAffinityTimeoutSeconds }}
  {{- end }}
  selector:
    {{- include "narthex.selector" .root | nindent 4 }}
  ports:
    {{- range $port := include "narthex.open" .root | fromJsonArray }}
    - name: {{ $port }}
      {{- /* Both Services have the same ports, as redirects name one of them. */}}
      port: {{ index $root.Values.service.ports $port | default (index $root.Values.ports $port) }}
      targetPort: {{ index $root.Values.ports $port }}
      protocol: TCP
      {{- with index ($values.nodePorts | default dict) $port }}
      nodePort: {{ . }}
      {{- end }}
    {{- end }}
{{- end -}}
