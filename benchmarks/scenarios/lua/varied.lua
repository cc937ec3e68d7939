-- Browser-like heads in which path, query, cookie and request id differ from request to request.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

local n = 0
request = function()
    n = n + 1
    return table.concat({
        "GET /articles/" .. n % 9973 .. "/comments?page=" .. n % 97 .. "&sort=new HTTP/1.1\r\n",
        "Host: www.example.com\r\n",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
        "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n",
        "Accept-Encoding: gzip, deflate, br, zstd\r\n",
        "Referer: https://www.example.com/articles/" .. n % 7919 .. "\r\n",
        "Connection: keep-alive\r\n",
        "Cookie: session=" .. string.format("%032x", n * 2654435761) .. "; user=u" .. n % 1009 .. "\r\n",
        "X-Request-ID: " .. string.format("%016x", n * 40503) .. "\r\n",
        "Sec-Fetch-Mode: navigate\r\n\r\n",
    })
end
