-- Prints what wrk has counted as one line of JSON: times in microseconds, latencies too.
-- wrk has no latency where there was no response: it is null then.
local function percentile(latency, summary, p)
    if summary.requests == 0 then return "null" end
    return string.format("%d", latency:percentile(p))
end

done = function(summary, latency, requests)
    local e = summary.errors
    print(string.format(
        '{"requests": %d, "duration": %d, "p50": %s, "p99": %s, ' ..
        '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}',
        summary.requests, summary.duration,
        percentile(latency, summary, 50), percentile(latency, summary, 99),
        e.connect, e.read, e.write, e.status, e.timeout))
end
