{{/*
The settings of the node, by their names in values: those that follow from other
values, then the operator's own.
*/}}
{{- define "wsnode.settings" -}}
{{- $derived := dict }}
{{- range $name := list "standalone" "data" }}
{{- if hasKey $.Values.settings $name }}{{ fail (printf "\n\nsettings.%s: standalone.enabled sets it, and the volume with it" $name) }}{{ end }}
{{- end }}
{{- if .Values.standalone.enabled }}
{{- $derived = dict "standalone" true "data" "/data" "singleRegion" true }}
{{- end }}
{{- if .Values.nats.existingSecret }}
{{- range $name, $key := .Values.nats.keys }}
{{- if $key }}{{ $_ := set $derived $name (printf "%s/etc/wsnode/nats/%s" (ternary "file:" "" (eq $name "natsUrl")) $key) }}{{ end }}
{{- end }}
{{- end }}
{{- if or .Values.jwks.keySet .Values.jwks.existingConfigMap .Values.jwks.existingSecret }}
{{- $_ := set $derived "jwksFile" (printf "/etc/wsnode/jwks/%s" .Values.jwks.key) }}
{{- end }}
{{- if .Values.hs256.existingSecret }}
{{- $_ := set $derived "hs256SecretFile" (printf "/etc/wsnode/hs256/%s" .Values.hs256.key) }}
{{- end }}
{{- if .Values.tls.existingSecret }}
{{- $derived = merge $derived (dict "tlsCert" "/etc/wsnode/tls/tls.crt" "tlsKey" "/etc/wsnode/tls/tls.key") }}
{{- end }}
{{- merge (deepCopy .Values.settings) $derived | toYaml }}
{{- end }}

{{/* A setting as the text of a variable: numbers in full, one header a line, other lists in words. */}}
{{- define "wsnode.text" -}}
{{- if kindIs "slice" .value }}{{ join (ternary "\n" " " (eq .name "otlpHeader")) .value }}
{{- else if and (kindIs "float64" .value) (eq (floor .value) .value) }}{{ printf "%.0f" .value }}
{{- else }}{{ .value }}
{{- end }}
{{- end }}

{{- define "wsnode.env" -}}
{{- range $name, $value := include "wsnode.settings" . | fromYaml }}
- name: WSNODE_{{ regexReplaceAll "[A-Z]" $name "_${0}" | upper }}
  value: {{ include "wsnode.text" (dict "name" $name "value" $value) | quote }}
{{- end }}
{{- end }}

{{/* What a node cannot do without, said before it says so itself in a pod that fails. */}}
{{- define "wsnode.check" -}}
{{- $s := include "wsnode.settings" . | fromYaml }}
{{- if not (or .Values.existingSecret .Values.extraEnv .Values.extraEnvFrom) }}
{{- if not (get $s "region") }}{{ fail "\n\nsettings.region: expected the name of this WebSocket region, such as eu-central-1" }}{{ end }}
{{- if not (get $s "publicUrl") }}{{ fail "\n\nsettings.publicUrl: expected the URL under which clients reach this region, such as wss://eu-central-1.example.com" }}{{ end }}
{{- if not (or (get $s "jwksUrl") (get $s "jwksFile") (get $s "hs256SecretFile")) }}{{ fail "\n\nsettings.jwksUrl: expected where your key set is; or jwks.keySet: the set itself; or hs256.existingSecret" }}{{ end }}
{{- if and (get $s "hs256SecretFile") (not (get $s "defaultTenant")) }}{{ fail "\n\nsettings.defaultTenant: expected the tenant that the secret of hs256 speaks for" }}{{ end }}
{{- if not (or (get $s "natsUrl") (get $s "standalone")) }}{{ fail "\n\nsettings.natsUrl: expected the region's NATS; or existingSecret with WSNODE_NATS_URL; or standalone.enabled" }}{{ end }}
{{- if not (or (get $s "registry") (get $s "singleRegion")) }}{{ fail "\n\nsettings.registry: expected dbCode=natsURL for each license region; or settings.singleRegion, if there is no other region" }}{{ end }}
{{- end }}
{{- if and (get $s "jwksUrl") (get $s "jwksFile") }}{{ fail "\n\nsettings.jwksUrl: expected either this or jwks" }}{{ end }}
{{- if and (get $s "hs256SecretFile") (or (get $s "jwksUrl") (get $s "jwksFile")) }}{{ fail "\n\nhs256: expected neither settings.jwksUrl nor jwks beside it" }}{{ end }}
{{- if and (get $s "standalone") (get $s "natsUrl") }}{{ fail "\n\nstandalone.enabled: runs NATS in the node: expected no settings.natsUrl beside it" }}{{ end }}
{{- if and .Values.standalone.enabled .Values.autoscaling.enabled }}{{ fail "\n\nautoscaling.enabled: a standalone region has one node" }}{{ end }}
{{- if and (get $s "node") (not (get $s "standalone")) }}{{ fail "\n\nsettings.node: expected none: each pod has an id of its own" }}{{ end }}
{{- if gt (len (compact (list .Values.jwks.keySet .Values.jwks.existingConfigMap .Values.jwks.existingSecret))) 1 }}{{ fail "\n\njwks: expected one of keySet, existingConfigMap and existingSecret" }}{{ end }}
{{- end }}

{{/*
The ports of the URLs in the settings that a node connects to, without those of NATS
or only those, as words.
*/}}
{{- define "wsnode.egressPorts" -}}
{{- $nats := .nats }}
{{- $schemes := dict "http" 80 "ws" 80 "https" 443 "wss" 443 "s3" 443 "postgres" 5432 "postgresql" 5432 "nats" 4222 "tls" 4222 }}
{{- $ports := list }}
{{- range $name, $value := omit .settings "publicUrl" "regionUrl" "issuer" "audience" "scope" }}
{{- $text := join " " (kindIs "slice" $value | ternary $value (list (toString $value))) }}
{{- $text = $text | replace "%3A" ":" | replace "%3a" ":" | replace "%2F" "/" | replace "%2f" "/" }}
{{- range regexFindAll "[a-z0-9]+://[^,/?&# ]+" $text -1 }}
{{- $scheme := regexFind "^[a-z0-9]+" . }}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" | default (get $schemes $scheme | toString) }}
{{- if and (hasKey $schemes $scheme) (eq $nats (has $scheme (list "nats" "tls"))) }}{{ $ports = append $ports $port }}{{ end }}
{{- end }}
{{- end }}
{{- range .more }}{{ $ports = append $ports (toString .) }}{{ end }}
{{- $ports | uniq | sortAlpha | join " " }}
{{- end }}
