// The address of the page names the request and the time that it shows, so that it can be sent to others.
const placeOf = (request) => {
  const place = new URLSearchParams();
  if (request) place.set("request", request.id);
  const range = selectedTime();
  if (range) {
    place.set("from", new Date(range[0]).toISOString());
    place.set("to", new Date(range[1]).toISOString());
  }
  return place.toString();
};
const link = () => history.replaceState(null, "", "#" + placeOf(chosen));
whenSelected(() => { if (!isFollowing) link(); });

// Shows what the address names.
let isFollowing = false;
const follow = () => {
  isFollowing = true;
  const place = new URLSearchParams(location.hash.slice(1));
  const [from, to] = ["from", "to"].map((name) => Date.parse(place.get(name)));
  // The address names milliseconds, so a stretch is looked up by its middle.
  const at = (moment) => (moment < stretches[0].to ? 0 : stretches.findLastIndex((stretch) => stretch.from <= moment));
  select(from < to ? [at(from + run.length / 2), at(to - run.length / 2)] : null);
  const wanted = place.get("request");
  const request = requests.find((request) => request.id === wanted);
  if (request) show(request, false);
  else if (wanted) showNone(wanted);
  isFollowing = false;
  if (wanted) element("requests").scrollIntoView();
};
addEventListener("hashchange", follow);
follow();
