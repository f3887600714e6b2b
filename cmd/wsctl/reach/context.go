package reach

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/natsconn"
)

// natsContext is a context file of the nats command (NATS ADR-21), as far as it
// matters here. natscontext of nats-io/jsm.go would bring that whole module, and
// the one of synadia-io/orbit.go only connects; wsctl needs the options, because
// each registry has a connection of its own.
type natsContext struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	Creds       string `json:"creds"`
	NKey        string `json:"nkey"`
	UserJWT     string `json:"user_jwt"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	TLSFirst    bool   `json:"tls_first"`
	Domain      string `json:"jetstream_domain"`
	InboxPrefix string `json:"inbox_prefix"`

	// What would be needed to connect and is not supported.
	NSC       string `json:"nsc"`
	Socks     string `json:"socks_proxy"`
	WinCert   string `json:"windows_cert_store"`
	APIPrefix string `json:"jetstream_api_prefix"`
}

// contextFolder is where the nats command keeps its contexts.
func contextFolder() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "nats", "context"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".config", "nats", "context"), nil
}

// ContextNames are the names of all contexts, for completion.
func ContextNames() (names []string) {
	dir, err := contextFolder()
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names
}

// loadContext reads a context by name, or by the absolute path of its file.
func loadContext(name string) (*natsContext, error) {
	file := name
	if !filepath.IsAbs(name) {
		dir, err := contextFolder()
		if err != nil {
			return nil, err
		}
		if name == "" || name != filepath.Base(name) {
			return nil, exit.WrongFlag("context", "%q: expected the name of a context or the absolute path of its file", Redact(name))
		}
		file = filepath.Join(dir, name+".json")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, exit.WrongFlag("context", "%v", err)
	}
	var c natsContext
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, exit.WrongFlag("context", "%s: %v", file, err)
	}
	for what, value := range map[string]string{
		"nsc": c.NSC, "socks_proxy": c.Socks, "windows_cert_store": c.WinCert, "jetstream_api_prefix": c.APIPrefix,
	} {
		if value != "" {
			return nil, exit.WrongFlag("context", "%s: %s is not supported by wsctl", file, what)
		}
	}
	return &c, nil
}

// options are the connection options that the context stands for.
func (c *natsContext) options() (options []nats.Option, err error) {
	add := func(set bool, option nats.Option) {
		if set {
			options = append(options, option)
		}
	}
	switch {
	case c.User != "":
		add(true, nats.UserInfo(c.User, c.Password))
	case c.Creds != "":
		add(true, nats.UserCredentials(homePath(c.Creds)))
	case c.NKey != "":
		option, err := nats.NkeyOptionFromSeed(homePath(c.NKey))
		if err != nil {
			return nil, exit.WrongFlag("context", "nkey: %v", err)
		}
		add(true, option)
	case c.UserJWT != "":
		return nil, exit.WrongFlag("context", "user_jwt is not supported by wsctl: use creds")
	}
	add(c.Token != "", nats.Token(c.Token))
	add(c.Cert != "" && c.Key != "", nats.ClientCert(homePath(c.Cert), homePath(c.Key)))
	add(c.CA != "", nats.RootCAs(homePath(c.CA)))
	add(c.TLSFirst, nats.TLSHandshakeFirst())
	inboxes := c.InboxPrefix
	if inboxes == "" && c.User != "" {
		inboxes = natsconn.UserInboxes(c.User + ":@")
	}
	add(inboxes != "", nats.CustomInboxPrefix(inboxes))
	return slices.Clip(options), nil
}

// homePath expands variables and a leading "~", as the nats command does.
func homePath(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return home + rest
		}
	}
	return path
}
