{{/* The pod, the same in a Deployment and in a StatefulSet. */}}
{{- define "wsnode.pod" -}}
{{- include "wsnode.check" . }}
{{- $settings := include "wsnode.settings" . | fromYaml }}
metadata:
  labels:
    {{- include "wsnode.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "wsnode.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false # variables of Services named wsnode would be taken for settings
  terminationGracePeriodSeconds: {{ include "wsnode.terminationGracePeriodSeconds" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: wsnode
      image: {{ include "wsnode.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      {{- include "wsnode.environment" . | nindent 6 }}
      ports:
        - {name: clients, containerPort: {{ include "wsnode.port" (default ":8080" (get $settings "listen")) }}, protocol: TCP}
        - {name: admin, containerPort: {{ include "wsnode.port" (get $settings "adminListen") }}, protocol: TCP}
      {{- range $probe := list "startupProbe" "readinessProbe" "livenessProbe" }}
      {{- with index $.Values $probe }}
      {{ $probe }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with .Values.lifecycle }}
      lifecycle:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        {{- include "wsnode.mounts" . | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "wsnode.volumes" . | nindent 4 }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $selector := dict "matchLabels" (include "wsnode.selectorLabels" $ | fromYaml) }}
    {{- $constraint := merge (deepCopy .) (dict "labelSelector" $selector) }}
    {{- if $.Values.standalone.enabled }}{{ $constraint = omit $constraint "matchLabelKeys" }}{{ end }}
    - {{ toYaml $constraint | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  {{- range $field := list "affinity" "nodeSelector" "tolerations" "hostAliases" "dnsConfig" }}
  {{- with index $.Values $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{- define "wsnode.volumes" -}}
{{- $standalone := .Values.standalone }}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- if and $standalone.enabled (not $standalone.persistence.enabled) }}
- {name: data, emptyDir: {}}
{{- else if and $standalone.enabled $standalone.persistence.existingClaim }}
- {name: data, persistentVolumeClaim: {claimName: {{ $standalone.persistence.existingClaim }}}}
{{- end }}
{{- with .Values.nats.existingSecret }}
- {name: nats, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.jwks.existingSecret }}
- {name: jwks, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- if or .Values.jwks.keySet .Values.jwks.existingConfigMap }}
- {name: jwks, configMap: {name: {{ default (printf "%s-jwks" (include "wsnode.fullname" .)) .Values.jwks.existingConfigMap }}}}
{{- end }}
{{- with .Values.hs256.existingSecret }}
- {name: hs256, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.tls.existingSecret }}
- {name: tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The settings, from values and from Secrets. */}}
{{- define "wsnode.environment" -}}
env:
  {{- include "wsnode.env" . | nindent 2 }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .Values.existingSecret .Values.extraEnvFrom }}
envFrom:
  {{- with .Values.existingSecret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
  {{- with .Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "wsnode.mounts" -}}
{{- $settings := include "wsnode.settings" . | fromYaml }}
- {name: tmp, mountPath: /tmp}
{{- if .Values.standalone.enabled }}
- {name: data, mountPath: /data}
{{- end }}
{{- if .Values.nats.existingSecret }}
- {name: nats, mountPath: /etc/wsnode/nats, readOnly: true}
{{- end }}
{{- if hasPrefix "/etc/wsnode/jwks/" (default "" (get $settings "jwksFile")) }}
- {name: jwks, mountPath: /etc/wsnode/jwks, readOnly: true}
{{- end }}
{{- if .Values.hs256.existingSecret }}
- {name: hs256, mountPath: /etc/wsnode/hs256, readOnly: true}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/wsnode/tls, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
