package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	apps "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

var help = struct {
	sync.Once
	names []string
}{}

// variables are the settings that wsnode serve --help tells of.
func variables(t *testing.T) []string {
	t.Helper()
	help.Do(func() {
		text, err := exec.Command(program(t, "wsnode", "./cmd/wsnode"), "serve", "--help").Output()
		if err != nil {
			t.Error(err)
		}
		for _, m := range regexp.MustCompile(`\[\$(WSNODE_[A-Z0-9_]+)`).FindAllStringSubmatch(string(text), -1) {
			help.names = append(help.names, m[1])
		}
	})
	if len(help.names) < 40 {
		t.Fatalf("only %d settings: %q", len(help.names), help.names)
	}
	return help.names
}

type property struct {
	Type    string
	Minimum int
	Pattern string
}

func settingsOfTheSchema(t *testing.T) map[string]property {
	t.Helper()
	var s struct {
		Properties struct {
			Settings struct{ Properties map[string]property }
		}
	}
	text, err := os.ReadFile("../values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s.Properties.Settings.Properties
}

// ofType are values of a setting and what its variable must hold then.
var ofType = map[string][2]any{
	"boolean": {true, "true"}, "integer": {268435456, "268435456"}, "number": {0.25, "0.25"},
	"array": {[]string{"a=1", "b=2"}, "a=1 b=2"}, "string": {"text", "text"},
}

func TestEachSettingOfANodeIsAValueThatReachesIt(t *testing.T) {
	known := variables(t)
	values := with(t, "aws", "") // none of its values makes further settings
	expected, settings := map[string]string{}, map[string]any{}
	for name, p := range settingsOfTheSchema(t) {
		value := ofType[p.Type]
		switch {
		case name == "standalone" || name == "data": // below
			continue
		case name == "listen" || name == "adminListen":
			value = [2]any{"127.0.0.1:7070", "127.0.0.1:7070"}
		case name == "node" || name == "jwksFile" || name == "hs256SecretFile":
			value = [2]any{"", ""}
		case name == "otlpHeader":
			value[1] = "a=1\nb=2"
		case p.Pattern != "":
			value = [2]any{"1m30s", "1m30s"}
		}
		settings[name] = value[0]
		words := regexp.MustCompile(`[A-Z]`).ReplaceAllString(name, "_$0")
		expected["WSNODE_"+strings.ToUpper(words)] = value[1].(string)
	}
	values["settings"] = throughYAML(t, settings)
	o := render(t, values)
	if got := o.env(); !maps.Equal(got, expected) {
		t.Errorf("the node has\n%v\nexpected\n%v", got, expected)
	}
	for name := range expected {
		if !slices.Contains(known, name) {
			t.Errorf("wsnode serve has no $%s", name)
		}
	}
	standalone := render(t, examples(t)["standalone"]).env()
	for _, name := range known {
		if _, set := expected[name]; !set && standalone[name] == "" {
			t.Errorf("no value sets $%s", name)
		}
	}
	if c := o.node(); !slices.Equal(c.Args, []string{"serve"}) || c.Command != nil {
		t.Errorf("the container runs %q %q", c.Command, c.Args)
	}
}

// throughYAML makes of values what Helm reads from a file.
func throughYAML(t *testing.T, v any) (read map[string]any) {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestNodesTakeTheEnvironmentOfEachExample(t *testing.T) {
	known := variables(t)
	eachExample(t, func(t *testing.T, o *objects) {
		for name := range o.env() {
			if !slices.Contains(known, name) {
				t.Errorf("wsnode serve has no $%s", name)
			}
		}
	})
}

func TestMisspelledAndImpossibleValuesAreRefused(t *testing.T) {
	for more, says := range map[string]string{
		"settings: {drainDelays: 10s}":                                  "drainDelays",
		"settings: {drainDelay: 10}":                                    "drainDelay",
		"settings: {drainDelay: ten seconds}":                           "drainDelay",
		"settings: {maxConnections: many}":                              "maxConnections",
		"settings: {maxConnections: -1}":                                "maxConnections",
		"settings: {trustedProxy: 10.0.0.0/8}":                          "trustedProxy",
		"settings: {pprof: 'yes'}":                                      "pprof",
		"replica: 3":                                                    "replica",
		"image: {repo: a}":                                              "repo",
		"image: {digest: latest}":                                       "digest",
		"networkPolicy: {natsPorts: ['4222']}":                          "natsPorts",
		"image: {repository: ''}":                                       "image.repository",
		"settings: {region: ''}":                                        "settings.region",
		"settings: {publicUrl: ''}":                                     "settings.publicUrl",
		"settings: {registry: []}":                                      "settings.registry",
		"settings: {jwksUrl: ''}":                                       "settings.jwksUrl",
		"nats: {keys: {natsUrl: ''}}":                                   "settings.natsUrl",
		"settings: {standalone: true}":                                  "standalone.enabled",
		"settings: {node: a}":                                           "settings.node",
		"settings: {adminListen: 'off'}":                                "expected an address with a port",
		"jwks: {keySet: '{}'}":                                          "settings.jwksUrl",
		"standalone: {enabled: true}":                                   "standalone.enabled",
		"terminationGracePeriodSeconds: 39":                             "40 s together",
		"httpRoute: {enabled: true}":                                    "httpRoute.parentRefs",
		"jwks: {existingSecret: a, keySet: '{}'}":                       "jwks",
		"hs256: {existingSecret: a}":                                    "settings.defaultTenant",
		"{hs256: {existingSecret: a}, settings: {defaultTenant: acme}}": "hs256: expected neither",
	} {
		if said := refused(t, with(t, "region", more)); !strings.Contains(said, says) {
			t.Errorf("%s: refused with %q, expected %q in it", more, said, says)
		}
	}
	if said := refused(t, with(t, "standalone", "autoscaling: {enabled: true}")); !strings.Contains(said, "autoscaling") {
		t.Error(said)
	}
}

func TestTheSecretOfTokensIsMountedFromASecret(t *testing.T) {
	o := render(t, with(t, "region", "{hs256: {existingSecret: tiptap, key: jwt}, settings: {jwksUrl: '', defaultTenant: acme}}"))
	if env := o.env(); env["WSNODE_HS256_SECRET_FILE"] != "/etc/wsnode/hs256/jwt" || env["WSNODE_DEFAULT_TENANT"] != "acme" {
		t.Errorf("the node has %v", env)
	}
}

func TestAPodHasTheTimeToEndThatItsDrainTakes(t *testing.T) {
	for more, seconds := range map[string]int64{
		"":                                10 + 15 + 15,
		"settings: {drainDelay: 1m30s}":   90 + 15 + 15,
		"settings: {drainDelay: '0'}":     15 + 15,
		"settings: {drainSpread: 1500ms}": 10 + 2 + 15,
		"settings: {drainDelay: 1.5m}":    90 + 1 + 15 + 15, // rounded up
		"lifecycle: {preStop: {sleep: {seconds: 5}}}": 5 + 10 + 15 + 15,
		"terminationGracePeriodSeconds: 300":          300,
	} {
		pod, _ := render(t, with(t, "region", more)).pod()
		if got := *pod.Spec.TerminationGracePeriodSeconds; got != seconds {
			t.Errorf("%s: %d s, expected %d", more, got, seconds)
		}
	}
}

func TestASecretsVariablesComeBeforeNoSetting(t *testing.T) {
	o := render(t, with(t, "keda", "extraEnvFrom: [{configMapRef: {name: more}}]\nextraEnv: [{name: AWS_REGION, value: a}]"))
	if from := o.node().EnvFrom; len(from) != 2 || from[0].SecretRef.Name != "wsnode" || from[1].ConfigMapRef.Name != "more" {
		t.Errorf("%+v", from)
	}
	if env := o.env(); env["AWS_REGION"] != "a" || env["WSNODE_REGION"] != "eu-central-1" {
		t.Errorf("%v", env)
	}
	if one[*apps.Deployment](o).Spec.Replicas != nil {
		t.Error("the chart sets the number of pods that KEDA sets")
	}
}

func TestAReleaseMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"wsnode", "a", strings.Repeat("long-", 10)} {
		values := with(t, "standalone", fmt.Sprintf("fullnameOverride: %s\nprometheusRule: {enabled: true}\ndashboard: {enabled: true}", name))
		for _, object := range render(t, values).all {
			if len(object.GetName()) > 63 {
				t.Errorf("%s is too long", object.GetName())
			}
		}
	}
}
