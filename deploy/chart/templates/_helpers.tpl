{{- define "wsnode.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "wsnode.fullname" -}}
{{- $name := include "wsnode.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "wsnode.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wsnode.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wsnode.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "wsnode.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wsnode.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "wsnode.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "wsnode.image" -}}
{{- $repository := required "\n\nimage.repository: expected where your image is, such as registry.example.com/wsnode; `task image` makes it" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Whole seconds of a duration of Go, rounded up; what is none fails. */}}
{{- define "wsnode.seconds" -}}
{{- $from := toDate "2006-01-02 15:04:05" "2000-01-01 00:00:00" }}
{{- $to := mustDateModify (printf "+%s" .) $from }}
{{- $whole := sub (unixEpoch $to | int64) (unixEpoch $from | int64) }}
{{- if regexMatch "[nuµm]s|\\." . }}{{ add1 $whole }}{{ else }}{{ $whole }}{{ end }}
{{- end }}

{{/* The port of an address to listen on, such as ":8080". */}}
{{- define "wsnode.port" -}}
{{- $port := regexFind "[0-9]+$" . }}
{{- if or (not $port) (eq $port "0") }}{{ fail (printf "\n\n%q: expected an address with a port, such as \":8080\": the pod's ports and probes go there" .) }}{{ end }}
{{- $port }}
{{- end }}

{{/* Seconds that a node may take to end: both drain settings, and 15 s to give up its documents. */}}
{{- define "wsnode.endsIn" -}}
{{- $settings := include "wsnode.settings" . | fromYaml }}
{{- $seconds := add (include "wsnode.seconds" (default "0s" (get $settings "drainDelay"))) (include "wsnode.seconds" (default "10s" (get $settings "drainSpread"))) 15 }}
{{- add $seconds (dig "preStop" "sleep" "seconds" 0 .Values.lifecycle | int64) }}
{{- end }}

{{- define "wsnode.terminationGracePeriodSeconds" -}}
{{- $least := include "wsnode.endsIn" . | int64 }}
{{- $given := .Values.terminationGracePeriodSeconds | int64 }}
{{- if and $given (lt $given $least) }}
{{- fail (printf "\n\nterminationGracePeriodSeconds: %d is too short: settings.drainDelay, settings.drainSpread, lifecycle.preStop and 15 s are %d s together, and a node that is ended before loses what only it holds" $given $least) }}
{{- end }}
{{- default $least $given }}
{{- end }}
