// Command dns answers every question over UDP on port 53 with one address. It stands in for the suite's CoreDNS, of which the suite only
// wants some answer.
package main

import (
	"log"
	"net"

	"github.com/miekg/dns"
)

func main() {
	answer := func(w dns.ResponseWriter, request *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(request)
		for _, question := range request.Question {
			header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: net.IPv4(192, 0, 2, 1)})
		}
		if err := w.WriteMsg(reply); err != nil {
			log.Print(err)
		}
	}
	log.Fatal((&dns.Server{Addr: ":53", Net: "udp", Handler: dns.HandlerFunc(answer)}).ListenAndServe())
}
