package admin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// everything are the names under which Prometheus stores what a node shows.
func everything(t *testing.T) map[string]bool {
	t.Helper()
	s := serveTest(t, Config{})
	m := NewMetrics(s.Registerer(), "n1", "eu-central-1")
	m.Watch("v1.2.3", 1, func() Figures {
		return Figures{
			Handshakes: map[string]int64{"admitted": 1},
			Rooms:      RoomFigures{AwarenessDropped: map[string]int64{"too_large": 1}, Stateless: map[string]int64{"passed": 1}},
			Registries: []RegistryFigures{{License: "aws-eu-west-1"}},
			Stores:     []StoreFigures{{License: "aws-eu-west-1"}},
			Tenants:    []TenantFigures{{Tenant: "acme"}},
		}
	})
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		if f.GetType() != dto.MetricType_HISTOGRAM {
			names[f.GetName()] = true
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			names[f.GetName()+suffix] = true
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\b(?:wsnode|process|go)_[a-z0-9_]+`)

func TestTheDashboardAsksForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "grafana", "wsnode.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	names := everything(t)
	asked := map[string]bool{}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			found := metricName.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q: no metric in %q", p.Title, target.Expr)
			}
			for _, name := range found {
				asked[name] = true
				if !names[name] {
					t.Errorf("panel %q asks for %s, which no node shows", p.Title, name)
				}
			}
		}
	}
	for name := range names {
		shown := asked[name] || asked[strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")+"_bucket"]
		if strings.HasPrefix(name, namespace) && !shown && name != "wsnode_overloaded" && name != "wsnode_tenant_documents" && name != "wsnode_nats_subscriptions" {
			t.Errorf("no panel shows %s", name)
		}
	}
}

var (
	alertName   = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	alertBook   = regexp.MustCompile(`runbook: docs/operations\.md#([a-z-]+)`)
	heading     = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor = regexp.MustCompile(`[^a-z0-9 -]`)
)

func TestTheAlertsAskForMetricsThatExistAndNameARunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(string(operations), -1) {
		anchors[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	names := everything(t)
	rules := alertName.Split(string(text), -1)[1:]
	alerts := alertName.FindAllStringSubmatch(string(text), -1)
	if len(alerts) < 10 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for i, rule := range rules {
		alert := alerts[i][1]
		expr, _, _ := strings.Cut(rule, "labels:")
		for _, name := range metricName.FindAllString(expr, -1) {
			if !names[name] {
				t.Errorf("alert %s asks for %s, which no node shows", alert, name)
			}
		}
		book := alertBook.FindStringSubmatch(rule)
		if book == nil || !anchors[book[1]] {
			t.Errorf("alert %s has no runbook that exists: %v", alert, book)
		}
	}
}

var (
	metricsSection = regexp.MustCompile(`(?ms)^## Metrics.*?^## `)
	metricInTable  = regexp.MustCompile("`(wsnode_[a-z_]+)(?:\\{[a-z_,]+\\})?`")
)

func TestOperatorsAreToldOfEveryMetricAndOfNoOther(t *testing.T) {
	operations, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range metricInTable.FindAllSubmatch(metricsSection.Find(operations), -1) {
		told[string(m[1])] = true
	}
	names := everything(t)
	for name := range told {
		if !names[name] && !names[name+"_bucket"] {
			t.Errorf("docs/operations.md tells of %s, which no node shows", name)
		}
	}
	for name := range names {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count"), "_bucket")
		if strings.HasPrefix(name, namespace) && !told[base] {
			t.Errorf("docs/operations.md does not tell of %s", name)
		}
	}
}

var _ prometheus.Collector = (*figures)(nil)
