// Package gateway runs the conformance suite of Gateway API against narthex on a real cluster: see conformance.sh.
package gateway

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
