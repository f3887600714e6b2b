package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// names are document names that something on the way could misread.
var names = []string{
	"my-document", "my_document", "Ünïcödé", "文書", "🙂🙃", "a b", "two  spaces", "a.b", "a", "b", "*", ">", "a.*", "a.>",
	"x::y", "dev::demo::x", "c++", "c", "a&b=c", "'quoted'", `"double"`, "a/b", "b/a", "a=b", "~", "$KV.pins", "_INBOX.x",
	"discovery", "health", "usage", "regions", "dev/token", "MY-DOCUMENT",
	strings.Repeat("n", 255), strings.Repeat("é", 255), strings.Repeat("x/", 127) + "y",
}

func TestAnyNameIsADocumentOfItsOwn(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	node := yjs.Start(t)
	writers := make([]*yjs.Client, len(names))
	for i, name := range names {
		writers[i] = node.Join(on(dev, cluster.EU, i%2, token, name))
		writers[i].Insert(0, fmt.Sprintf("content of document %d", i))
	}
	for i, name := range names {
		content := fmt.Sprintf("content of document %d", i)

		found := cluster.Discover(t, dev.HTTP(cluster.US, 0), token, name)
		if found.IsNew || found.Region != "eu-central-1" {
			t.Errorf("%q: discovery answers %+v", name, found)
		}
		if u, err := url.Parse(found.URL); err != nil || u.Path != "/"+name {
			t.Errorf("%q: discovery answers a URL that names another document: %s", name, found.URL)
		}
		discovered := node.Join(yjs.Options{URL: found.URL, Document: name, Token: token, Library: 2 + i%2})
		discovered.WaitText(content)
		discovered.Destroy()

		if !strings.Contains(name, "&") { // it ends the query parameter
			o := on(dev, cluster.EU, 0, token, name)
			o.Via = yjs.ServerURL
			queried := node.Join(o)
			queried.WaitText(content)
			queried.Destroy()
		}
	}
	for i, name := range names {
		if got, expected := writers[i].State().Text, fmt.Sprintf("content of document %d", i); got != expected {
			t.Errorf("%q holds %q, expected %q", name, got, expected)
		}
	}
}

func TestANameTwiceIsTheNameOnce(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	node := yjs.Start(t)
	node.Join(on(dev, cluster.US, 0, token, "x")).Insert(0, "content of x")
	for _, name := range []string{"x/x", "x/x/x/x"} {
		if found := cluster.Discover(t, dev.HTTP(cluster.EU, 0), token, name); found.IsNew || found.URL != dev.WS(cluster.US, 0)+"/x" {
			t.Errorf("%s: %+v", name, found)
		}
		node.Join(on(dev, cluster.US, 1, token, name)).WaitText("content of x")
	}
}

func TestTenantsAppsAndLicenseRegionsNeverMeet(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	node := yjs.Start(t)
	type space struct{ tenant, app, license string }
	var spaces []space
	for _, tenant := range []string{"acme", "acme.notes"} {
		for _, app := range []string{"notes", "x", "acme"} {
			for _, license := range []string{"aws-eu-west-1", "aws-us-east-1"} {
				spaces = append(spaces, space{tenant, app, license})
			}
		}
	}
	writers := make([]*yjs.Client, len(spaces))
	options := make([]yjs.Options, len(spaces))
	for i, s := range spaces {
		token := dev.Token("tenant", s.tenant, "app", s.app, "dbCode", s.license)
		if found := cluster.Discover(t, dev.HTTP(cluster.EU, 0), token, "doc"); !found.IsNew {
			t.Errorf("%+v: somebody else's document is seen: %+v", s, found)
		}
		// Documents of equal names even live in different regions.
		options[i] = on(dev, i%2, 0, token, "doc")
		options[i].User = fmt.Sprint(s)
		writers[i] = node.Join(options[i])
		writers[i].Insert(0, fmt.Sprint(s))
	}
	for i, s := range spaces {
		o := options[i]
		o.URL, o.User = dev.WS(i%2, 1), "reader"
		reader := node.Join(o)
		reader.WaitText(fmt.Sprint(s))
		reader.WaitUsers(yjs.Patience, fmt.Sprint(s), "reader")
		reader.Destroy()
	}
	for i, s := range spaces {
		if got := writers[i].State().Text; got != fmt.Sprint(s) {
			t.Errorf("%+v holds %q", s, got)
		}
	}
}

func TestWhatAURLWouldChangeIsRefused(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	token := dev.Token()
	header := http.Header{"Sec-Websocket-Protocol": {"access_token, " + token}}

	for _, target := range []string{
		"/", "/" + strings.Repeat("n", 256), "/" + strings.Repeat("%C3%A9", 256),
		"/a?b", "/a%3Fb", "/a%23b", "/50%", "/50%25", "/a%5Cb", "/%", "/%zz", "/%ff", "/a%00b", "/a%0Ab", "/a%7Fb",
		"/a/../b", "/a%2F..%2Fb", "/a/./b", "/a//b", "/a%2F%2Fb", "/a/", "//a", "/.", "/..", "/%2e%2e",
		"/?token=" + token + "/a?b", "/?token=" + token + "/a//b", "/?token=" + token,
	} {
		h := cluster.Shake(t, dev.Addr(cluster.EU, 0), target, header)
		refused := h.Code == 4007 && h.Reason == "Invalid document name" || h.Status == http.StatusBadRequest
		if !refused {
			t.Errorf("target %.80q: %+.80v, expected 4007 or 400", target, h)
		}
	}

	bad := []string{
		"", strings.Repeat("n", 256), strings.Repeat("é", 256), "a?b", "a#b", "50%", `a\b`, "a\x00b", "a\nb", "\xff",
		"a/../b", "a/./b", "a//b", "/a", "a/", ".", "..",
	}
	for _, name := range bad {
		a := cluster.Get(t, dev.HTTP(cluster.US, 1)+"/discovery?documentName="+url.QueryEscape(name), token)
		if a.Status != http.StatusBadRequest {
			t.Errorf("discovery of %.80q: %d %s, expected 400", name, a.Status, a.Body)
		}
	}

	// None of the above opened the document that a URL parser makes of it.
	for _, name := range []string{"a", "b", "50", "a/b", "a b", "n", "ab"} {
		if found := cluster.Discover(t, dev.HTTP(cluster.EU, 0), token, name); !found.IsNew {
			t.Errorf("%q was opened: %+v", name, found)
		}
	}
}

// The provider sends the name as it is.
func TestProviderWithABadNameIsToldSo(t *testing.T) {
	t.Parallel()
	dev := cluster.StartDev(t)
	node := yjs.Start(t)
	for _, name := range []string{"a?b", "50%25", "a//b", strings.Repeat("n", 256)} {
		c := node.Open(on(dev, cluster.EU, 0, dev.Token(), name))
		if closed := c.WaitClosed(4007); closed.Reason != "Invalid document name" {
			t.Errorf("%.40q: %+v", name, closed)
		}
		c.Destroy()
	}
}
