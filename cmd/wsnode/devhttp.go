package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay"
	"github.com/wsnode/wsnode/relay/devcluster"
)

// The playground as it was built from its sources: running it needs no npm.
//
//go:embed all:playground/dist
var playground embed.FS

// endpoints puts the development endpoints (docs/dev-endpoints.md) in front of a
// node.
func (d *dev) endpoints(n *devcluster.Node) http.Handler {
	pages, err := fs.Sub(playground, "playground/dist")
	if err != nil {
		panic(err) // the path above is a constant
	}
	mux := http.NewServeMux()
	handle := func(method, path string, h http.Handler) {
		mux.Handle(method+" "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", method)
			writeProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "Only "+method+" is allowed here")
		})
	}
	handle("GET", "/playground/", http.StripPrefix("/playground/", page(http.FileServerFS(pages))))
	handle("GET", "/playground", http.RedirectHandler("/playground/", http.StatusFound))
	handle("GET", "/dev/token", http.HandlerFunc(d.token))
	handle("GET", "/dev/jwks", http.HandlerFunc(d.jwks))
	handle("GET", "/dev/topology", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, d.topology()) }))
	handle("GET", "/dev/events", http.HandlerFunc(d.events.serve))
	handle("POST", "/dev/nodes/{node}/{what}", http.HandlerFunc(d.steerNode))
	handle("POST", "/dev/regions/{region}/{what}", http.HandlerFunc(d.steerRegion))
	handle("POST", "/dev/store/{what}", http.HandlerFunc(d.steerStore))
	handle("POST", "/dev/sessions/drop", http.HandlerFunc(d.drop))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotFound, "not_found", "No such endpoint")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		ours := path == "/playground" || strings.HasPrefix(path, "/playground/") || strings.HasPrefix(path, "/dev/")
		if !ours || r.Header.Get("Upgrade") != "" {
			n.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if d.admit(w, r) {
			mux.ServeHTTP(w, r)
		}
	})
}

// admit keeps pages of the internet out: a browser can be made to send requests
// to localhost, but not with a false Host or Origin.
func (d *dev) admit(w http.ResponseWriter, r *http.Request) bool {
	if !d.ownHost(r.Host) {
		writeProblem(w, http.StatusForbidden, "forbidden", "This host name is not one of this process; see --host")
		return false
	}
	origin := r.Header.Get("Origin")
	own := d.ownOrigin(origin, r.Host)
	if own {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
	}
	commandLine := origin == "" && r.Header.Get("Sec-Fetch-Site") == ""
	if r.Method == http.MethodPost && !own && !commandLine {
		writeProblem(w, http.StatusForbidden, "forbidden", "Pages of other origins may not do this")
		return false
	}
	return true
}

func (d *dev) ownHost(hostport string) bool {
	host := hostOf(hostport)
	return host == "localhost" || host == d.flags.publicHost() || net.ParseIP(host) != nil
}

// ownOrigin reports whether a page came from this process. An address of another
// machine did not, whatever its port: only this machine's own ones, and the one
// by which the request itself came, are known to lead here.
func (d *dev) ownOrigin(origin, asked string) bool {
	u, err := url.Parse(origin)
	if err != nil || origin == "" {
		return false
	}
	host := u.Hostname()
	here := host == "localhost" || host == d.flags.publicHost() || host == hostOf(asked) || net.ParseIP(host).IsLoopback()
	if !here {
		return false
	}
	return slices.ContainsFunc(d.nodes(), func(n *devcluster.Node) bool {
		at, err := url.Parse(n.URL)
		return err == nil && u.Port() == at.Port()
	})
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.Trim(host, "[]")
}

// page adds what the page may do.
func page(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
}

func (d *dev) nodes() []*devcluster.Node { return slices.Collect(d.cluster.Nodes) }

// topology is what runs where.
type topology struct {
	Grace          float64               `json:"grace"` // seconds
	LicenseRegions []docid.LicenseRegion `json:"licenseRegions"`
	Store          string                `json:"store"` // none, works or fails
	Regions        []topologyRegion      `json:"regions"`
}

type topologyRegion struct {
	Name     string         `json:"name"`
	URL      string         `json:"url"`
	Registry string         `json:"registry"` // connected or cut
	History  string         `json:"history"`  // takes or refuses edits
	Nodes    []topologyNode `json:"nodes"`
}

type topologyNode struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	State string `json:"state"` // up, draining or down
}

func (d *dev) topology() topology {
	t := topology{Grace: d.flags.grace.Seconds(), LicenseRegions: licenseRegions, Store: d.storeState()}
	for _, r := range d.cluster.Regions {
		region := topologyRegion{Name: string(r.Name), URL: r.URL, Registry: "connected", History: "takes"}
		if r.IsCut() {
			region.Registry = "cut"
		}
		if r.RefusesEdits() {
			region.History = "refuses"
		}
		for _, n := range r.Nodes {
			region.Nodes = append(region.Nodes, topologyNode{string(n.ID), n.URL, string(n.State())})
		}
		t.Regions = append(t.Regions, region)
	}
	return t
}

// stopOne bounds how long one node may take to end.
const stopOne = 5 * time.Second

// steerNode stops and starts a node.
func (d *dev) steerNode(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(d.nodes(), func(n *devcluster.Node) bool { return string(n.ID) == r.PathValue("node") })
	if i < 0 {
		writeProblem(w, http.StatusNotFound, "not_found", "No such node")
		return
	}
	n, what := d.nodes()[i], r.PathValue("what")+" "+r.URL.Query().Get("how")
	ctx, cancel := context.WithTimeout(context.Background(), stopOne)
	defer cancel()
	var err error
	switch what {
	case "start ":
		err = n.Start(ctx)
	case "stop ", "stop drain":
		err = n.Stop(ctx)
	case "stop kill":
		n.Kill()
	default:
		writeProblem(w, http.StatusBadRequest, "bad_request", "Expected start, stop?how=drain or stop?how=kill")
		return
	}
	if err != nil {
		d.log.Warn("a node was steered, but not cleanly", "node", n.ID, "what", what, "err", err)
	}
	w.WriteHeader(http.StatusNoContent)
}

// steerRegion cuts a region from all registries and heals it, and has its history
// refuse edits and take them again.
func (d *dev) steerRegion(w http.ResponseWriter, r *http.Request) {
	i := slices.IndexFunc(d.cluster.Regions, func(region *devcluster.Region) bool { return string(region.Name) == r.PathValue("region") })
	if i < 0 {
		writeProblem(w, http.StatusNotFound, "not_found", "No such region")
		return
	}
	region := d.cluster.Regions[i]
	switch r.PathValue("what") {
	case "cut":
		region.Cut(true)
	case "heal":
		region.Cut(false)
	case "refuse", "take":
		if err := region.RefuseEdits(r.Context(), r.PathValue("what") == "refuse"); err != nil {
			writeProblem(w, http.StatusInternalServerError, "failed", err.Error())
			return
		}
	default:
		writeProblem(w, http.StatusBadRequest, "bad_request", "Expected cut or heal, refuse or take")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// drop cuts the sessions that match all that is asked for.
func (d *dev) drop(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("document") == "" {
		writeProblem(w, http.StatusBadRequest, "bad_request", "document is missing: expected the name of a document")
		return
	}
	if _, err := strconv.ParseUint(q.Get("client"), 10, 64); err != nil && q.Has("client") {
		writeProblem(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("client=%q: expected an awareness client id", q.Get("client")))
		return
	}
	is := func(key, value string) bool { return !q.Has(key) || q.Get(key) == value }
	dropped := 0
	for _, n := range d.nodes() {
		node := n.Current()
		if node == nil || !is("node", string(n.ID)) {
			continue
		}
		dropped += node.Cut(func(p relay.Presence) bool {
			return p.Document.Name == q.Get("document") && is("tenant", string(p.Document.Tenant)) &&
				is("app", string(p.Document.App)) && is("client", decimal(p.Client))
		})
	}
	writeJSON(w, http.StatusOK, map[string]int{"dropped": dropped})
}

func writeProblem(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, map[string]string{"error": kind, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the page may have gone
}
