package test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// reachable are the ports that the network policy lets nodes connect to.
func reachable(p *networking.NetworkPolicy) (ports []string) {
	for _, rule := range p.Spec.Egress {
		for _, port := range rule.Ports {
			ports = append(ports, string(*port.Protocol)+" "+port.Port.String())
		}
	}
	return ports
}

var (
	address     = regexp.MustCompile(`([a-z0-9]+)://[^,/? ]*`)
	portsByName = map[string]string{"http": "80", "https": "443", "tls": "4222", "nats": "4222"}
)

func TestTheNetworkPolicyLetsNodesReachAllThatTheyAreToldOf(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		p := one[*networking.NetworkPolicy](o)
		ports, env := reachable(p), o.env()
		expected := []string{"UDP 53", "TCP 53", "TCP 443"}
		if env["WSNODE_STANDALONE"] == "" {
			expected = append(expected, "TCP 4222")
		}
		for name, value := range env {
			if name == "WSNODE_PUBLIC_URL" {
				continue
			}
			for _, a := range address.FindAllStringSubmatch(value, -1) {
				port := portsByName[a[1]]
				if _, given, ok := strings.Cut(a[0][len(a[1])+3:], ":"); ok {
					port = given
				}
				expected = append(expected, "TCP "+port)
			}
		}
		for _, port := range expected {
			if !slices.Contains(ports, port) {
				t.Errorf("nodes may not reach %s, only %q", port, ports)
			}
		}
		var names []string
		for _, rule := range p.Spec.Ingress {
			for _, port := range rule.Ports {
				names = append(names, port.Port.StrVal)
			}
		}
		if !slices.Equal(names, []string{"clients", "admin"}) || len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("nodes are reached at %q, %v", names, p.Spec.PolicyTypes)
		}
		if peers := p.Spec.Ingress[1].From; len(peers) == 0 {
			t.Error("the admin port is open to everybody")
		}
	})
}

func TestPortsOfTheNetworkPolicyComeFromTheSettings(t *testing.T) {
	for more, expected := range map[string][]string{
		"settings: {natsUrl: 'nats://a:4000,nats://b:4001'}":                                 {"TCP 4000", "TCP 4001", "TCP 443"},
		"settings: {registry: ['aws-eu-west-1=tls://u:p@a:7422']}":                           {"TCP 4222", "TCP 7422", "TCP 443"},
		"settings: {jwksUrl: 'http://backend.apps:3000/jwks'}":                               {"TCP 4222", "TCP 3000", "TCP 443"},
		"settings: {otlpEndpoint: 'http://collector'}":                                       {"TCP 4222", "TCP 443", "TCP 80"},
		"networkPolicy: {natsPorts: [4333], servicesPorts: [9000]}":                          {"TCP 4222", "TCP 4333", "TCP 443", "TCP 9000"},
		"settings: {regionUrl: ['us-east-1=wss://us.example:8443'], issuer: 'https://a:99'}": {"TCP 4222", "TCP 443"},
	} {
		ports := reachable(one[*networking.NetworkPolicy](render(t, with(t, "region", more))))
		if expected = append([]string{"UDP 53", "TCP 53"}, expected...); !slices.Equal(ports, expected) {
			t.Errorf("%s: %q, expected %q", more, ports, expected)
		}
	}
	if o := render(t, with(t, "region", "networkPolicy: {enabled: false}")); len(every[*networking.NetworkPolicy](o)) > 0 {
		t.Error("a policy that nobody wants")
	}
}

func TestAlertsAreThoseOfDeployAndWakeNobodyForATicket(t *testing.T) {
	o := render(t, examples(t)["region"])
	rule := one[*monitoring.PrometheusRule](o)
	if expected := readYAML[monitoring.PrometheusRuleSpec](t, "../../prometheus/alerts.yaml"); !reflect.DeepEqual(rule.Spec, expected) {
		t.Errorf("%+v\nexpected\n%+v", rule.Spec, expected)
	}
	for _, r := range rule.Spec.Groups[0].Rules {
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s is for %q, expected page or ticket", r.Alert, s)
		}
	}
	// They ask for the job wsnode.
	relabel := one[*monitoring.ServiceMonitor](o).Spec.Endpoints[0].RelabelConfigs[0]
	if relabel.TargetLabel != "job" || *relabel.Replacement != "wsnode" {
		t.Errorf("%+v", relabel)
	}
}

func TestTheDashboardIsThatOfDeploy(t *testing.T) {
	expected, err := os.ReadFile("../../grafana/wsnode.json")
	if err != nil {
		t.Fatal(err)
	}
	dashboard := one[*core.ConfigMap](render(t, examples(t)["region"]))
	if got := dashboard.Data["wsnode.json"]; strings.TrimSpace(got) != strings.TrimSpace(string(expected)) || dashboard.Labels["grafana_dashboard"] != "1" {
		t.Errorf("%d bytes, expected %d; labels %v", len(got), len(expected), dashboard.Labels)
	}
}

func TestNodesScaleByTheirLoadAndDownSlowly(t *testing.T) {
	o := render(t, with(t, "region", "autoscaling: {enabled: true}"))
	h := one[*autoscaling.HorizontalPodAutoscaler](o)
	if m := h.Spec.Metrics[0].Pods.Metric.Name; m != "wsnode_load_ratio" {
		t.Errorf("by %s", m)
	}
	if down := h.Spec.Behavior.ScaleDown.Policies[0]; down.Value != 1 || down.PeriodSeconds < 300 {
		t.Errorf("%+v", down)
	}
	pods := one[*scaledObject](render(t, examples(t)["keda"])).Spec
	if down := pods.Advanced.HorizontalPodAutoscalerConfig.Behavior.ScaleDown.Policies[0]; down.Value != 1 || down.PeriodSeconds < 300 {
		t.Errorf("%+v", down)
	}
	if pods.ScaleTargetRef.Name != one[*core.ServiceAccount](o).Name {
		t.Errorf("KEDA scales %s", pods.ScaleTargetRef.Name)
	}
}

func TestWorkloadIdentitiesAreAnnotationsOfTheServiceAccount(t *testing.T) {
	for example, annotation := range map[string]string{"aws": "eks.amazonaws.com/role-arn", "gcp": "iam.gke.io/gcp-service-account"} {
		o := render(t, examples(t)[example])
		account, pods := one[*core.ServiceAccount](o), o
		pod, _ := pods.pod()
		if account.Annotations[annotation] == "" || pod.Spec.ServiceAccountName != account.Name {
			t.Errorf("%s: %+v", example, account)
		}
	}
}

func TestTheRouteNamesItsGateway(t *testing.T) {
	o := render(t, examples(t)["gateway"])
	r := one[*gateway.HTTPRoute](o)
	if len(r.Spec.ParentRefs) != 1 || string(r.Spec.Hostnames[0]) != hostOf(t, o.env()["WSNODE_PUBLIC_URL"]) {
		t.Errorf("%+v", r.Spec)
	}
}

func TestTwoRegionsHaveTheSameRegistriesAndUsersOfTheirOwn(t *testing.T) {
	eu, us := render(t, examples(t)["two-regions-eu"]).env(), render(t, examples(t)["two-regions-us"]).env()
	for _, name := range []string{"WSNODE_REGISTRY", "WSNODE_REGISTRY_DOMAIN", "WSNODE_GRACE", "WSNODE_LEASE", "WSNODE_JWKS_URL"} {
		if eu[name] == "" || eu[name] != us[name] {
			t.Errorf("$%s is %q and %q", name, eu[name], us[name])
		}
	}
	for _, name := range []string{"WSNODE_REGION", "WSNODE_PUBLIC_URL"} {
		if eu[name] == us[name] {
			t.Errorf("$%s is %q in both", name, eu[name])
		}
	}
	if got := len(strings.Fields(eu["WSNODE_REGISTRY"])); got != 2 {
		t.Errorf("%d registries", got)
	}
}

// The example for NATS's own chart cannot be rendered without it. What matters of it
// is what deploy/nats says as well.
func TestTheExampleForTheChartOfNATSKeepsWhatDeployNATSHas(t *testing.T) {
	type values struct {
		Config struct {
			Cluster struct {
				Replicas int
				TLS      struct{ Enabled bool }
			}
			NATS      struct{ TLS struct{ Enabled bool } }
			Jetstream struct {
				Merge map[string]any
			}
			Merge map[string]string
		}
		Container struct{ Env map[string]any }
	}
	v := readYAML[values](t, "../examples/nats/values.yaml")
	if v.Config.Cluster.Replicas != 3 || !v.Config.Cluster.TLS.Enabled || !v.Config.NATS.TLS.Enabled {
		t.Errorf("%+v", v.Config)
	}
	if sync := fmt.Sprint(v.Config.Jetstream.Merge["sync_interval"]); sync != "always" || v.Config.Merge["$include"] != "./permissions.conf" {
		t.Errorf("%+v", v.Config)
	}
	permissions, err := os.ReadFile("../../nats/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\$(NATS_[A-Z0-9_]+)`).FindAllStringSubmatch(string(permissions), -1) {
		if v.Container.Env[name[1]] == nil {
			t.Errorf("no $%s, which permissions.conf reads", name[1])
		}
	}
}
