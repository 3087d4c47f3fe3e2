// ICE restart in the text of SDP: what is told to the server, and what its word makes of the answer.

// The trickle fragment (RFC 8840 §9) with the credentials of an offer, whose sections are bundled.
export function fragmentOf(offer) {
  const line = (start) => offer.split('\r\n').find((each) => each.startsWith(start));
  return [...['m=', 'a=mid:', 'a=ice-ufrag:', 'a=ice-pwd:'].map(line), ''].join('\r\n');
}

// An earlier answer with the credentials and candidates of the server's fragment.
export function withFragment(answer, fragment) {
  const news = fragment.split('\r\n').filter((line) => /^a=(ice-ufrag|ice-pwd|candidate):/.test(line));
  if (!news.some((line) => line.startsWith('a=ice-ufrag:'))) throw new Error('The server sent no ICE credentials.');
  return answer
    .split('\r\n')
    .filter((line) => !/^a=(ice-pwd|candidate):/.test(line))
    .flatMap((line) => (line.startsWith('a=ice-ufrag:') ? news : [line]))
    .join('\r\n');
}
