// A peer of `bench/http.ts`: one workerd isolate that parses a JSON body and answers with it.
export default {
  async fetch(request) {
    return Response.json({ output: await request.json() });
  },
};
