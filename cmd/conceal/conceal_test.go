package conceal

import "testing"

func TestPasswordsOfURLsAreTakenOut(t *testing.T) {
	for text, expected := range map[string]string{
		"connect to nats://op:secret@127.0.0.1:4222: refused":         "connect to nats://…@127.0.0.1:4222: refused",
		"nats://op:secret@a:1,nats://secret@b:2":                      "nats://…@a:1,nats://…@b:2",
		`parse "nats://op:s/ec?r#et@h": invalid port ":s" after host`: `parse "nats://…@h": invalid port ":s" after host`,
		"aws-eu-west-1=nats://op:s@cret@h":                            "aws-eu-west-1=nats://…@h",
		"postgres://u:p@h/d?user=a@b":                                 "postgres://…@h/d?user=a@b",
		"ask http://127.0.0.1:1/discovery?documentName=a@b: refused":  "ask http://127.0.0.1:1/discovery?documentName=a@b: refused",
		"mail to somebody@example.org, see https://example.org/":      "mail to somebody@example.org, see https://example.org/",
	} {
		if got := URLs(text); got != expected {
			t.Errorf("%s: %s", text, got)
		}
	}
}
