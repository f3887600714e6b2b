package test

import (
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// kinds are the objects that the chart and its examples make.
var kinds = map[string]func() meta.Object{
	"apps/v1 Deployment":                      func() meta.Object { return &apps.Deployment{} },
	"apps/v1 StatefulSet":                     func() meta.Object { return &apps.StatefulSet{} },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() meta.Object { return &autoscaling.HorizontalPodAutoscaler{} },
	"v1 Service":                              func() meta.Object { return &core.Service{} },
	"v1 ServiceAccount":                       func() meta.Object { return &core.ServiceAccount{} },
	"v1 ConfigMap":                            func() meta.Object { return &core.ConfigMap{} },
	"v1 Pod":                                  func() meta.Object { return &core.Pod{} },
	"networking.k8s.io/v1 Ingress":            func() meta.Object { return &networking.Ingress{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() meta.Object { return &networking.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() meta.Object { return &policy.PodDisruptionBudget{} },
	"gateway.networking.k8s.io/v1 HTTPRoute":  func() meta.Object { return &gateway.HTTPRoute{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() meta.Object { return &monitoring.ServiceMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() meta.Object { return &monitoring.PrometheusRule{} },
	"keda.sh/v1alpha1 ScaledObject":           func() meta.Object { return &scaledObject{} },
	"cloud.google.com/v1 BackendConfig":       func() meta.Object { return &backendConfig{} },
}

// scaledObject and backendConfig are the fields that the examples use, by the
// documentation of KEDA 2 and of GKE: their modules would bring clients of all
// clouds along.
type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ScaleTargetRef  struct{ Name string }
		MinReplicaCount int32
		MaxReplicaCount int32
		PollingInterval int32
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior autoscaling.HorizontalPodAutoscalerBehavior
			}
		}
		Triggers []struct {
			Type, MetricType string
			Metadata         map[string]string
		}
	}
}

type backendConfig struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		TimeoutSec         int
		ConnectionDraining struct{ DrainingTimeoutSec int }
		HealthCheck        struct {
			Type, RequestPath string
			Port              int
		}
	}
}

// objects are what was rendered.
type objects struct {
	tb    testing.TB
	notes string
	all   []meta.Object
}

// add decodes a manifest: a field that the kind does not have is an error, as is
// one that stands twice.
func (o *objects) add(name, manifest string) {
	o.tb.Helper()
	var kind meta.TypeMeta
	if err := yaml.Unmarshal([]byte(manifest), &kind); err != nil {
		o.tb.Fatalf("%s: %v\n%s", name, err, manifest)
	}
	if kind.Kind == "" {
		return // comments only
	}
	make, known := kinds[kind.APIVersion+" "+kind.Kind]
	if !known {
		o.tb.Fatalf("%s: unknown kind %s %s", name, kind.APIVersion, kind.Kind)
	}
	object := make()
	if err := yaml.UnmarshalStrict([]byte(manifest), object); err != nil {
		o.tb.Fatalf("%s: %v\n%s", name, err, manifest)
	}
	o.all = append(o.all, object)
}

// every is all objects of one kind, one is the only one.
func every[T meta.Object](o *objects) (found []T) {
	for _, object := range o.all {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

func one[T meta.Object](o *objects) T {
	o.tb.Helper()
	found := every[T](o)
	if len(found) != 1 {
		var kind T
		o.tb.Fatalf("%d objects %T", len(found), kind)
	}
	return found[0]
}

// pod is the template of the nodes' pods and the labels that select them.
func (o *objects) pod() (core.PodTemplateSpec, *meta.LabelSelector) {
	o.tb.Helper()
	if sets := every[*apps.StatefulSet](o); len(sets) == 1 {
		return sets[0].Spec.Template, sets[0].Spec.Selector
	}
	d := one[*apps.Deployment](o)
	return d.Spec.Template, d.Spec.Selector
}

// node is the container of the pods that wsnode runs in.
func (o *objects) node() core.Container {
	o.tb.Helper()
	pod, _ := o.pod()
	for _, c := range pod.Spec.Containers {
		if c.Name == "wsnode" {
			return c
		}
	}
	o.tb.Fatal("no container wsnode")
	return core.Container{}
}

// env is the environment of the node.
func (o *objects) env() map[string]string {
	o.tb.Helper()
	env := map[string]string{}
	for _, v := range o.node().Env {
		if _, twice := env[v.Name]; twice {
			o.tb.Errorf("$%s is set twice", v.Name)
		}
		env[v.Name] = v.Value
	}
	return env
}

// service is the Service with a port of this name.
func (o *objects) service(port string) *core.Service {
	o.tb.Helper()
	for _, s := range every[*core.Service](o) {
		if s.Spec.Ports[0].Name == port {
			return s
		}
	}
	o.tb.Fatalf("no Service with a port %s", port)
	return nil
}

// kindOf is the kind of a decoded object.
func kindOf(object meta.Object) string {
	return object.(interface{ GetObjectKind() schema.ObjectKind }).GetObjectKind().GroupVersionKind().Kind
}
