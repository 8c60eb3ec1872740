package servers_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestEmulatorsKeepThePortAndNothingElseWhenKilled(t *testing.T) {
	for _, kind := range []servers.Emulator{servers.Fauxqs, servers.Moto} {
		t.Run(string(kind), func(t *testing.T) {
			a := servers.PrivateAWS(t, kind)
			address, pid := a.URL(), a.Pid()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			ask := func(action string) string {
				t.Helper()
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(`{"QueueName":"orders"}`))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Amz-Target", "AmazonSQS."+action)
				request.Header.Set("Content-Type", "application/x-amz-json-1.0")
				request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
				response, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				text, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(text)
			}
			if text := ask("CreateQueue"); !strings.Contains(text, "orders") {
				t.Fatalf("CreateQueue answered %s", text)
			}
			if err := a.Kill(); err != nil {
				t.Fatal(err)
			}
			if alive(pid) || a.Pid() != 0 {
				t.Fatalf("process %d is left", pid)
			}
			if err := a.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a.URL() != address {
				t.Error("the address is another one after a restart")
			}
			if text := ask("GetQueueUrl"); !strings.Contains(text, "NonExistentQueue") && !strings.Contains(text, "QueueDoesNotExist") {
				t.Errorf("after its death the emulator still knows the queue: %s", text)
			}
		})
	}
}
