package test

import (
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

func TestPodsHaveNoRightsThatTheyDoNotNeed(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		pod, _ := o.pod()
		spec, p, c := pod.Spec, pod.Spec.SecurityContext, o.node().SecurityContext
		switch {
		case *spec.AutomountServiceAccountToken || *one[*core.ServiceAccount](o).AutomountServiceAccountToken:
			t.Error("a token of the service account is mounted")
		case *spec.EnableServiceLinks:
			t.Error("variables of Services are set, which nodes take for settings")
		case !*p.RunAsNonRoot || *p.RunAsUser != 65532 || *p.RunAsGroup != 65532 || *p.FSGroup != 65532:
			t.Errorf("the user is %+v", p)
		case p.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault:
			t.Error("no seccomp profile")
		case *c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}) || c.Capabilities.Add != nil:
			t.Errorf("the container may %+v", c)
		case spec.HostNetwork || spec.HostPID || spec.HostIPC || c.Privileged != nil:
			t.Error("the pod shares its host's namespaces")
		}
		if limits := o.node().Resources.Limits; limits.Memory().IsZero() {
			t.Error("no memory limit: a node takes its goal from it")
		}
	})
}

// selects fails unless selector finds objects with these labels.
func selects(t *testing.T, what string, selector *meta.LabelSelector, has map[string]string) {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil || s.Empty() || !s.Matches(labels.Set(has)) {
		t.Errorf("%s selects %v, which does not find %v: %v", what, s, has, err)
	}
}

func TestSelectorsFindThePods(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		pod, selector := o.pod()
		selects(t, "the pods' owner", selector, pod.Labels)
		for _, s := range every[*core.Service](o) {
			selects(t, "Service "+s.Name, meta.SetAsLabelSelector(s.Spec.Selector), pod.Labels)
		}
		for _, b := range every[*policy.PodDisruptionBudget](o) {
			selects(t, "the disruption budget", b.Spec.Selector, pod.Labels)
		}
		for _, p := range every[*networking.NetworkPolicy](o) {
			selects(t, "the network policy", &p.Spec.PodSelector, pod.Labels)
		}
		for _, c := range pod.Spec.TopologySpreadConstraints {
			selects(t, "the spread over "+c.TopologyKey, c.LabelSelector, pod.Labels)
		}
		for _, m := range every[*monitoring.ServiceMonitor](o) {
			selects(t, "the monitor", &m.Spec.Selector, o.service("admin").Labels)
			s, _ := meta.LabelSelectorAsSelector(&m.Spec.Selector)
			if s.Matches(labels.Set(o.service("clients").Labels)) {
				t.Error("the monitor finds the Service of the clients, too")
			}
		}
		// A label that changes with each version must not be in a selector, which never may.
		for name := range selector.MatchLabels {
			if strings.Contains(name, "version") || strings.Contains(name, "chart") {
				t.Errorf("pods are selected by %s", name)
			}
		}
	})
}

func TestNamesAndLabelsAreThoseThatKubernetesTakes(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		seen := map[string]bool{}
		for _, object := range o.all {
			if key := kindOf(object) + "/" + object.GetName(); seen[key] {
				t.Errorf("two objects %s", key)
			} else {
				seen[key] = true
			}
			if errs := validation.IsDNS1123Label(object.GetName()); len(errs) > 0 {
				t.Errorf("%s: %v", object.GetName(), errs)
			}
			for name, value := range object.GetLabels() {
				if errs := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...); len(errs) > 0 {
					t.Errorf("label %s=%s of %s: %v", name, value, object.GetName(), errs)
				}
			}
		}
	})
}

func TestPortsAreNamedAndLeadToWhereTheNodeListens(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		named := map[string]int32{}
		for _, p := range o.node().Ports {
			named[p.Name] = p.ContainerPort
		}
		env := o.env()
		for name, variable := range map[string]string{"clients": "WSNODE_LISTEN", "admin": "WSNODE_ADMIN_LISTEN"} {
			if expected := ":" + strconv.Itoa(int(named[name])); !strings.HasSuffix(env[variable], expected) || named[name] == 0 {
				t.Errorf("port %s is %d, the node listens on %q", name, named[name], env[variable])
			}
			s := o.service(name)
			if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].TargetPort != intstr.FromString(name) {
				t.Errorf("Service %s: %+v", s.Name, s.Spec.Ports)
			}
		}
		for _, p := range []*core.Probe{o.node().ReadinessProbe, o.node().LivenessProbe, o.node().StartupProbe} {
			if p.HTTPGet.Port != intstr.FromString("admin") || !slices.Contains([]string{"/readyz", "/livez"}, p.HTTPGet.Path) {
				t.Errorf("%+v", p.HTTPGet)
			}
		}
		clients := o.service("clients")
		for _, i := range every[*networking.Ingress](o) {
			for _, rule := range i.Spec.Rules {
				if b := rule.HTTP.Paths[0].Backend.Service; b.Name != clients.Name || b.Port.Name != "clients" {
					t.Errorf("the ingress leads to %+v", b)
				}
				if host := hostOf(t, env["WSNODE_PUBLIC_URL"]); rule.Host != host {
					t.Errorf("the ingress is for %s, the public URL for %s", rule.Host, host)
				}
			}
		}
		for _, r := range every[*gateway.HTTPRoute](o) {
			if b := r.Spec.Rules[0].BackendRefs[0]; string(b.Name) != clients.Name || int32(*b.Port) != clients.Spec.Ports[0].Port {
				t.Errorf("the route leads to %+v", b)
			}
			if limits := r.Spec.Rules[0].Timeouts; *limits.Request != "0s" || *limits.BackendRequest != "0s" {
				t.Errorf("the route ends connections: %+v", limits)
			}
		}
		for _, m := range every[*monitoring.ServiceMonitor](o) {
			if m.Spec.Endpoints[0].Port != "admin" || m.Spec.NamespaceSelector.MatchNames[0] != namespace {
				t.Errorf("%+v", m.Spec)
			}
		}
	})
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Hostname()
}

func TestVolumesAreThereAndFilesOfSettingsAreMounted(t *testing.T) {
	mounted := regexp.MustCompile(`/etc/wsnode/[^ ,]+|^/data$`)
	eachExample(t, func(t *testing.T, o *objects) {
		pod, _ := o.pod()
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
		}
		for _, set := range every[*apps.StatefulSet](o) {
			for _, claim := range set.Spec.VolumeClaimTemplates {
				volumes[claim.Name] = true
			}
			if set.Spec.ServiceName != o.service("admin").Name {
				t.Errorf("the pods' names are at %s", set.Spec.ServiceName)
			}
		}
		var places []string
		for _, m := range o.node().VolumeMounts {
			if places = append(places, m.MountPath); !volumes[m.Name] {
				t.Errorf("no volume %s", m.Name)
			}
		}
		for name, value := range o.env() {
			for _, file := range mounted.FindAllString(value, -1) {
				if !slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(file+"/", place+"/") }) {
					t.Errorf("$%s names %s, which is not mounted: %q", name, file, places)
				}
			}
		}
	})
}

func TestABudgetKeepsTheNodesButOne(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		if len(every[*apps.StatefulSet](o)) == 1 {
			if len(every[*policy.PodDisruptionBudget](o)) > 0 {
				t.Error("a budget for one pod")
			}
			return
		}
		if b := one[*policy.PodDisruptionBudget](o).Spec; *b.MaxUnavailable != intstr.FromInt32(1) || b.MinAvailable != nil {
			t.Errorf("%+v", b)
		}
		d := one[*apps.Deployment](o).Spec
		if s := d.Strategy.RollingUpdate; s.MaxUnavailable.IntValue() != 0 || s.MaxSurge.IntValue() != 1 || d.MinReadySeconds < 30 {
			t.Errorf("%+v, %d s", s, d.MinReadySeconds)
		}
		keys := []string{}
		for _, c := range d.Template.Spec.TopologySpreadConstraints {
			keys = append(keys, c.TopologyKey)
		}
		if !slices.Contains(keys, "topology.kubernetes.io/zone") {
			t.Errorf("pods are spread over %q only", keys)
		}
	})
}

// helm test runs the very settings of the nodes, and takes no clients.
func TestTheChecksPodStandsWhereANodeWould(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		if len(every[*apps.StatefulSet](o)) == 1 {
			return
		}
		check, node := one[*core.Pod](o), o.node()
		c := check.Spec.Containers[0]
		if !slices.Equal(c.Args, []string{"serve", "--check"}) || check.Annotations["helm.sh/hook"] != "test" {
			t.Errorf("%q, %v", c.Args, check.Annotations)
		}
		pod, _ := o.pod()
		for what, pair := range map[string][2]any{
			"env": {c.Env, node.Env}, "envFrom": {c.EnvFrom, node.EnvFrom}, "mounts": {c.VolumeMounts, node.VolumeMounts},
			"rights": {c.SecurityContext, node.SecurityContext}, "user": {check.Spec.SecurityContext, pod.Spec.SecurityContext},
			"image": {c.Image, node.Image}, "volumes": {check.Spec.Volumes, pod.Spec.Volumes}, "memory": {c.Resources, node.Resources},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: %+v, a node has %+v", what, pair[0], pair[1])
			}
		}
		for _, s := range every[*core.Service](o) {
			if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(check.Labels)) {
				t.Errorf("Service %s sends clients to the check", s.Name)
			}
		}
	})
}

func TestTheNotesSayWhatToDoNext(t *testing.T) {
	eachExample(t, func(t *testing.T, o *objects) {
		for _, part := range []string{"rollout status", "/health", "wsctl", o.env()["WSNODE_PUBLIC_URL"], map[bool]string{true: "", false: "helm test"}[len(every[*apps.StatefulSet](o)) == 1]} {
			if !strings.Contains(o.notes, part) {
				t.Errorf("the notes do not tell of %q:\n%s", part, o.notes)
			}
		}
		if strings.Contains(o.notes, "<no value>") || strings.Contains(o.notes, "%!") {
			t.Error(o.notes)
		}
	})
}
