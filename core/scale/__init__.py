"""How large a fleet has to be, from what one machine was measured to do; and what its failures cost. No I/O.

    assumptions    calls, hosts, PoPs: what nobody measures
    figures        what `make bench` measures, one figure by one
    fleet          the load of each resource, and how many hosts that takes
    failure        what breaks first; what the death of a host, a PoP or the store costs the others
    plan           all that is assumed, from tables and back

Every load is proportional to the number of calls, so a fleet's limit is its fullest resource.
"""
