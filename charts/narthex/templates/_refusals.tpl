{{/* Values that cannot work together are refused here, all at once and each by name. What is wrong by itself is refused by the schema. */}}
{{- define "narthex.refuse" -}}
{{- $found := list -}}
{{- range list "args" "ports" "shutdown" "workload" "service" "access" "monitoring" -}}
{{- $found = concat $found (include (printf "narthex.refuse.%s" .) $ | trim | splitList "\n" | compact) -}}
{{- end -}}
{{- if $found -}}
{{- printf "\n\nthese values cannot be used:\n- %s\n" (join "\n- " $found) | fail -}}
{{- end -}}
{{- end -}}

{{/* Flags that do not exist, and those that are set twice. */}}
{{- define "narthex.refuse.args" -}}
{{- $flags := .Files.Get "files/flags.json" | fromJson -}}
{{- $names := $flags.names -}}
{{- $set := list -}}
{{- range (include "narthex.ownArgs" . | fromYamlArray) -}}
{{- $set = append $set (splitList "=" . | first) -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- $name := splitList "=" . | first -}}
{{- if and (has $name $set) (not (has $name $flags.lists)) }}
extraArgs: {{ $name }} is set twice: here, and here again or by another value of the chart
{{- else if not (has $name $names) }}
{{- /* Those that begin like it, as far as any does. */}}
{{- $similar := list -}}
{{- range $length := untilStep (len $name) 4 -1 -}}
{{- if not $similar -}}
{{- range $names -}}
{{- if hasPrefix (substr 0 $length $name) . }}{{ $similar = append $similar . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}
extraArgs: narthex serve has no flag {{ $name }}{{ with $similar }}. Did you mean {{ join " or " . }}?{{ end }} (docs/reference.md lists all flags)
{{- end -}}
{{- $set = append $set $name -}}
{{- end -}}
{{- end -}}

{{- define "narthex.refuse.ports" -}}
{{- $open := include "narthex.open" . | fromJsonArray -}}
{{- $start := int .Values.nodeUnprivilegedPortStart -}}
{{- if not (include "narthex.onNode" .) -}}
{{- $start = 0 -}}
{{- range .Values.podSecurityContext.sysctls -}}
{{- if eq .name "net.ipv4.ip_unprivileged_port_start" }}{{ $start = int .value }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $context := include "narthex.containerSecurity" . | fromYaml -}}
{{- $root := and (eq (int $context.runAsUser) 0) (not $context.runAsNonRoot) -}}
{{- /* Another uid has the capability only if the program's file has it too: whoever made such an image adds the capability in the values. */ -}}
{{- $capabilities := ternary $context .Values.securityContext $root -}}
{{- $added := get ($capabilities.capabilities | default dict) "add" | default list -}}
{{- $capable := or (has "NET_BIND_SERVICE" $added) (has "ALL" $added) -}}
{{- range $open -}}
{{- $port := int (index $.Values.ports .) -}}
{{- if and (lt $port $start) (not $capable) }}
ports.{{ . }}: narthex cannot listen on {{ $port }} {{ if $root }}without the capability NET_BIND_SERVICE{{ else }}as uid {{ int $context.runAsUser }}{{ end }}. Use a port of {{ $start }} or above{{ if include "narthex.onNode" $ }}, or lower the nodes' net.ipv4.ip_unprivileged_port_start and say so with nodeUnprivilegedPortStart{{ end }} (docs/ports.md)
{{- end -}}
{{- end -}}
{{- if and $context.runAsNonRoot (eq (int $context.runAsUser) 0) }}
securityContext.runAsUser: 0 is root, and runAsNonRoot forbids it
{{- end -}}
{{- if not $open }}
ports: http and https are both 0, so narthex would serve nothing
{{- end -}}
{{- with .Values.ports -}}
{{- if and .http (eq (int .http) (int .https)) }}
ports.https: {{ .https }} is the port for HTTP already
{{- end -}}
{{- if or (eq (int .admin) (int .http)) (eq (int .admin) (int .https)) }}
ports.admin: {{ .admin }} is a port for clients already
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A time such as 1m30s in milliseconds. */}}
{{- define "narthex.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{- define "narthex.refuse.shutdown" -}}
{{- $times := dict -}}
{{- range $name, $time := .Values.drain -}}
{{- $_ := set $times (printf "--drain-%s" $name) $time -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- $flag := splitn "=" 2 . -}}
{{- if hasKey $times $flag._0 }}{{ $_ := set $times $flag._0 $flag._1 }}{{ end -}}
{{- end -}}
{{- $sum := mul 1000 (int ((((.Values.lifecycle.preStop).sleep).seconds) | default 0)) -}}
{{- range $time := $times -}}
{{- $sum = add $sum (include "narthex.milliseconds" $time | int64) -}}
{{- end -}}
{{- if le (mul 1000 (int .Values.terminationGracePeriodSeconds)) $sum }}
terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }} s are not longer than the shutdown, whose steps (drain, lifecycle.preStop) take {{ divf $sum 1000 }} s
{{- end -}}
{{- end -}}

{{- define "narthex.refuse.workload" -}}
{{- $deployment := eq .Values.kind "Deployment" -}}
{{- $node := include "narthex.onNode" . -}}
{{- with .Values.updateStrategy -}}
{{- if and $deployment (eq .type "OnDelete") }}
updateStrategy.type: a Deployment has no OnDelete
{{- else if and (not $deployment) (eq .type "Recreate") }}
updateStrategy.type: a DaemonSet has no Recreate
{{- end -}}
{{- if and (eq .type "RollingUpdate") (has (toString .maxUnavailable) (list "0" "0%" "")) (has (toString .maxSurge) (list "0" "0%" "")) }}
updateStrategy: maxUnavailable and maxSurge are both 0, so no pod could ever be replaced
{{- else if and (not $deployment) (eq .type "RollingUpdate") (not (has (toString .maxUnavailable) (list "0" "0%"))) (not (has (toString .maxSurge) (list "0" "0%"))) }}
updateStrategy: a DaemonSet allows only one of maxUnavailable and maxSurge; set the other to 0
{{- end -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and (or .enabled .external) (not $deployment) }}
autoscaling: a DaemonSet runs one pod per node; use kind: Deployment
{{- end -}}
{{- if .enabled -}}
{{- if .external }}
autoscaling.external: another autoscaler would fight with the HorizontalPodAutoscaler; set only one of enabled and external
{{- end -}}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
autoscaling.minReplicas: {{ int .minReplicas }} is more than maxReplicas, {{ int .maxReplicas }}
{{- end -}}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .metrics) }}
autoscaling: there is nothing to scale by; set a target or metrics
{{- end -}}
{{- $requests := ($.Values.resources.requests | default dict) -}}
{{- if and .targetCPUUtilizationPercentage (not (hasKey $requests "cpu")) }}
autoscaling.targetCPUUtilizationPercentage: it is a percentage of resources.requests.cpu, which is not set
{{- end -}}
{{- if and .targetMemoryUtilizationPercentage (not (hasKey $requests "memory")) }}
autoscaling.targetMemoryUtilizationPercentage: it is a percentage of resources.requests.memory, which is not set
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "narthex.hostPorts" . -}}
{{- if $node }}
daemonset.hostPorts: pods on the node's network have its ports already; set daemonset.hostNetwork to false
{{- else if and (eq .Values.updateStrategy.type "RollingUpdate") (not (has (toString .Values.updateStrategy.maxSurge) (list "0" "0%"))) }}
daemonset.hostPorts: during an update two pods would need the same ports; set updateStrategy.maxSurge to 0 and maxUnavailable to 1
{{- end -}}
{{- end -}}
{{- if $node -}}
{{- if .Values.networkPolicy.enabled }}
networkPolicy.enabled: a NetworkPolicy does not apply to pods on the node's network; set daemonset.hostNetwork to false
{{- end -}}
{{- range .Values.podSecurityContext.sysctls -}}
{{- if hasPrefix "net." .name }}
podSecurityContext.sysctls: {{ .name }} would apply to the node, so it is not allowed on the node's network
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.dnsPolicy "None") (not .Values.dnsConfig.nameservers) }}
dnsPolicy: None needs dnsConfig.nameservers
{{- end -}}
{{- end -}}

{{- define "narthex.refuse.service" -}}
{{- $node := include "narthex.onNode" . -}}
{{- range $group := list "service" "internalService" -}}
{{- $values := index $.Values $group -}}
{{- $balanced := list -}}
{{- range $field := list "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" "healthCheckNodePort" -}}
{{- if get $values $field }}{{ $balanced = append $balanced $field }}{{ end -}}
{{- end -}}
{{- $ports := list -}}
{{- range $name, $port := $values.nodePorts -}}
{{- if $port }}{{ $ports = append $ports (printf "nodePorts.%s" $name) }}{{ end -}}
{{- end -}}
{{- /* What cannot be meant for a Service that does not exist. */ -}}
{{- if and (eq $group "service") $node -}}
{{- $named := concat $balanced $ports -}}
{{- range $field := list "labels" "annotations" "clusterIP" "externalIPs" -}}
{{- if get $values $field }}{{ $named = append $named $field }}{{ end -}}
{{- end -}}
{{- range $named }}
service.{{ . }}: there is no Service for pods on the node's network; set daemonset.hostNetwork to false, or use internalService
{{- end -}}
{{- else if $values.enabled -}}
{{- if ne $values.type "LoadBalancer" -}}
{{- range $balanced }}
{{ $group }}.{{ . }}: it needs the type LoadBalancer
{{- end -}}
{{- else if and $values.healthCheckNodePort (ne $values.externalTrafficPolicy "Local") }}
{{ $group }}.healthCheckNodePort: it needs externalTrafficPolicy: Local
{{- end -}}
{{- if eq $values.type "ClusterIP" -}}
{{- range $ports }}
{{ $group }}.{{ . }}: a Service of the type ClusterIP has no ports on nodes
{{- end -}}
{{- else if eq $values.clusterIP "None" }}
{{ $group }}.clusterIP: None needs the type ClusterIP
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.service -}}
{{- if and (eq .ipFamilyPolicy "SingleStack") (gt (len .ipFamilies) 1) }}
service.ipFamilies: SingleStack allows only one
{{- end -}}
{{- end -}}
{{- if and (not $node) (not .Values.service.enabled) .Values.status.enabled (not (include "narthex.hostPorts" .)) (not .Values.status.publishAddress) (not .Values.status.publishService) }}
service.enabled: without the Service nobody knows which addresses Ingresses have; set status.publishAddress or status.publishService, or turn status.enabled off
{{- end -}}
{{- end -}}

{{- define "narthex.refuse.access" -}}
{{- if and .Values.proxyProtocol (ne (toString .Values.proxyProtocol) "off") (not .Values.trustedProxies) }}
proxyProtocol: {{ .Values.proxyProtocol }} needs trustedProxies, as PROXY headers are trusted only from them
{{- end -}}
{{- with .Values.tls.defaultCertificate -}}
{{- $namespace := splitList "/" . | first -}}
{{- $readable := ternary $.Values.secrets.namespaces $.Values.watchNamespaces (eq $.Values.secrets.access "listed") -}}
{{- if or (eq $.Values.secrets.access "none") (and $readable (not (has $namespace $readable))) }}
tls.defaultCertificate: narthex may not read Secrets of the namespace {{ $namespace }} (secrets, watchNamespaces)
{{- end -}}
{{- end -}}
{{- if and .Values.traces.endpoint .Values.traces.endpointSecret.name }}
traces.endpoint: traces.endpointSecret has the URL already; set only one of them
{{- end -}}
{{- with .Values.accessLog.file -}}
{{- $file := . -}}
{{- $writable := list "/dev/" "/run/narthex/" -}}
{{- range $.Values.extraVolumeMounts -}}
{{- $writable = append $writable (printf "%s/" (trimSuffix "/" .mountPath)) -}}
{{- end -}}
{{- $inside := false -}}
{{- range $writable -}}
{{- if hasPrefix . $file }}{{ $inside = true }}{{ end -}}
{{- end -}}
{{- if not $inside }}
accessLog.file: {{ $file }} is on the container's read-only file system; mount a volume there with extraVolumes and extraVolumeMounts
{{- end -}}
{{- if eq (toString $.Values.accessLog.format | replace "false" "off") "off" }}
accessLog.file: nothing is written to it, because accessLog.format is off
{{- end -}}
{{- end -}}
{{- if and .Values.rules.nginxConfigMap (not (has "ingress-nginx" .Values.rules.dropIn)) }}
rules.nginxConfigMap: it is read only with rules.dropIn: [ingress-nginx]
{{- end -}}
{{- end -}}

{{- define "narthex.refuse.monitoring" -}}
{{- with .Values.monitoring.serviceMonitor -}}
{{- if and .scrapeTimeout (gt (include "narthex.milliseconds" .scrapeTimeout | int64) (include "narthex.milliseconds" .interval | int64)) }}
monitoring.serviceMonitor.scrapeTimeout: {{ .scrapeTimeout }} is longer than interval, {{ .interval }}
{{- end -}}
{{- if and .tlsConfig (eq .scheme "http") }}
monitoring.serviceMonitor.tlsConfig: it needs the scheme https
{{- end -}}
{{- end -}}
{{- $alerts := list -}}
{{- range (.Files.Get "files/rules.yaml" | fromYaml).groups -}}
{{- range .rules }}{{ $alerts = append $alerts .alert }}{{ end -}}
{{- end -}}
{{- range .Values.monitoring.prometheusRule.disabled -}}
{{- if not (has . $alerts) }}
monitoring.prometheusRule.disabled: there is no alert {{ . }}, only {{ join ", " $alerts }}
{{- end -}}
{{- end -}}
{{- end -}}
