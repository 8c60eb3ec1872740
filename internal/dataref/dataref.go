// Package dataref has the names under which the claim of a body travels: packages claimcheck, cloudevents and bus share them.
package dataref

// Attributes of a message whose body lies in a blob store.
const (
	// Ref says where: the extension "Dataref (Claim Check Pattern)" of CloudEvents.
	Ref = "dataref"
	// Check has the digest and the size of what lies there. It is ours; without it nobody follows a Ref.
	Check = "sixfolddata"
)
